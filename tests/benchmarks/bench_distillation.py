"""The whole stage of distillation against a server on loopback that answers at once: `bench_distillation.py [REQUESTS]` (20,000 if not given; 703,000 are the paper's).

The corpus is invented: half of it Chinese, a kilobyte a passage, as many passages as each task type asks for. Shown is the memory that the corpus and its pairs take before the first request, and the most that the
stage takes until records, ledger and usage are written."""
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench_api import __file__ as bench_api

from aquilt.foundations.core import LANGS, Record, write_records
from aquilt.corpus import GENERATED
from aquilt.distillation import distillation, requests
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.runs import Run


def resident() -> float:
    "MB of this process in memory now."
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def passages(n: int):
    "`n` invented passages for each language."
    rng = random.Random(0)
    words = {"en": ["mill", "river", "bridge", "stone", "valley", "tower"], "zh": list("磨坊河桥石谷塔城水山")}
    for lang in LANGS:
        for i in range(n): yield Record(text=f"{i} " + (" " if lang == "en" else "").join(rng.choices(words[lang], k=170 if lang == "en" else 330)), lang=lang, source="invented", document=str(i), span=(0, 1000))


if __name__ == "__main__":
    each = -(-(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000) // (len(GENERATED) * len(LANGS)))
    server = subprocess.Popen([sys.executable, bench_api, "serve", "0"], stdout=subprocess.PIPE, text=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = Run(replace(SMOKE, teacher="m", teacher_url=f"http://127.0.0.1:{server.stdout.readline().strip()}/v1", teacher_faults=0, pairs_per_task=each), Path(folder))
            for stage, records in (("corpus", passages(each)), ("labeled", ())):
                run.stage(stage, lambda there: write_records(there / "records.jsonl", records) or {})
            found = requests(run)
            asked, before = sum(len(records) for _, records, *_ in found), resident()
            del found
            start = time.perf_counter()
            counts = distillation(run)["counts"]
            seconds, most = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            files = sum(path.stat().st_size for path in run.folder("distillation").iterdir()) / 2**20
            print(f"{asked} requests in {seconds:.0f} s, {asked / seconds:.0f} a second; {before:.0f} MB with corpus and pairs alone, {most:.0f} MB at the most, {files:.0f} MB written; kept {counts['kept']}, dropped {counts['dropped']}")
    finally: server.kill()
