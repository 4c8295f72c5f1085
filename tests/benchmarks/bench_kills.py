"""Commands killed at random moments and repeated: do their files equal an undisturbed run's? `bench_kills.py [KILLS] [RUN]`.

`corpus`, `filter` and a distillation (against the miniature's teacher on loopback) are killed; with the folder of a finished run at profile smoke or mini, `synthesize` is, too. (`reproduce`: AQUILT_KILLS of tests/test_smoke.py.)
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from aquilt.corpus import corpus, labeled
from aquilt.distillation import distillation
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.runs import Run
from aquilt.miniature import server

WORDS = "river city bridge mill ship market tower harbour council winter summer stone road field church school garden island coast forest".split()


def sentence(rng):
    return " ".join(rng.choices(WORDS, k=rng.randrange(8, 16))).capitalize() + "."


def write_inputs(folder, rng):
    "A text of some megabytes, and records to filter."
    (folder / "text.txt").write_text("\n\n".join(" ".join(sentence(rng) for _ in range(6)) for _ in range(4000)))
    rows = [{"text": sentence(rng), "question": f"{sentence(rng)[:-1]}?", "answer": rng.choice(WORDS), "task": "closed_book_qa", "lang": "en"} for _ in range(40_000)]
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "short.txt").write_text("\n\n".join(sentence(rng) for _ in range(40)))


def prepare(folder, url):
    "A run that has all that a distillation needs, and its distillation's stage."
    run = Run(replace(SMOKE, teacher_url=url, teacher_faults=0.1, pairs_per_task=25), folder)
    for stage in (corpus, labeled): run.do(stage(run))
    return run, distillation(run)


def distill(folder, url):
    run, stage = prepare(folder, url)
    run.do(stage)


def commands(run, url):
    found = {"corpus": ["-m", "aquilt", "corpus", "text.txt", "--out", "OUT/passages.jsonl"], "filter": ["-m", "aquilt", "filter", "records.jsonl", "OUT/kept.jsonl"], "distillation": [str(PROGRAM), "distill", "OUT", url]}
    if run: found["synthesize"] = ["-m", "aquilt", "synthesize", "short.txt", "--task", "closed_book_qa", "--lang", "en", "--out", "OUT/records.jsonl", "--run-dir", str(run), "--profile", run.name, "--engine-arg", "batch_size=1"]
    return found


def start(words, out):
    return subprocess.Popen([sys.executable, *(word.replace("OUT", str(out)) for word in words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def files(out):
    "What a command wrote, by name. Replies come in any order, so their store is its lines sorted."
    folder = out / "distillation" if (out / "distillation").exists() else out
    found = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name not in ("result.json", "log.txt") and not path.name.endswith((".completions.jsonl", ".scores.jsonl"))}
    return {name: sorted(data.splitlines()) if name == "replies.jsonl" else data for name, data in found.items()}


def main(kills=50, run=""):
    rng, home, run = random.Random(0), Path(tempfile.mkdtemp()), run and Path(run).absolute()
    os.environ["PYTHONPATH"] = os.getcwd()
    os.chdir(home)
    write_inputs(home, rng)
    server._Server.handle_error = lambda *_: None  # a client that was killed hangs up
    with server.teacher_server(0.1) as url:
        prepare(home / "prepared", url)
        for name, words in commands(run, url).items(): measure(name, words, kills, home, rng)


def measure(name, words, kills, home, rng):
    "Kill a command so many times, each time in a folder of its own, and repeat it there."
    def folder(out): return shutil.copytree(home / "prepared", out) if name == "distillation" else out
    began = time.monotonic()
    undisturbed, differ, hit = folder(home / name), 0, 0
    error = start(words, undisturbed).communicate()[1]
    whole, expected = time.monotonic() - began, files(undisturbed) if undisturbed.exists() else {}
    assert expected, error.decode()[-500:]
    for number in range(kills):
        out = folder(home / f"{name}{number}")
        process = start(words, out)
        time.sleep(rng.uniform(0.2, whole))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            hit += 1
        process.communicate()
        start(words, out).communicate()
        differ += files(out) != expected
    print(f"{name}: {kills} kills within {whole:.1f} s, {hit} of them before its end; {differ} ended otherwise than an undisturbed run", flush=True)


PROGRAM = Path(__file__).absolute()

if __name__ == "__main__":
    if sys.argv[1:2] == ["distill"]: distill(Path(sys.argv[2]), sys.argv[3])
    else: main(*([int(sys.argv[1])] if sys.argv[1:] else []), *sys.argv[2:])
