"""Speed and memory of cleaning JSON Lines, against merely parsing the same file: `bench_cleaning.py [MB] [WORKERS] [WORDS]` (100 MB, every core, 150 words a line if not given).

The bound: at least half the speed of parsing, under 1 GB resident for 1 GB of text. Every row is a process of its own; its memory is the peak of that process and of its largest worker."""
import json
import os
import random
import subprocess
import sys
import tempfile
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
RULES = {"form, length, exact": "Rules(langs=(), near=0)", "and language": "Rules(near=0)", "and near duplicates": "Rules(langs=())", "all": "Rules()"}


def write_sample(path: Path, megabytes: float, length: float = 150, seed: int = 0) -> int:
    "Invented text, a quarter of it Chinese, with 5 % exact and 5 % near repetitions, `length` words the middle line (150: 1.2 kB). Returns the number of lines."
    rng = random.Random(seed)
    common = "the of and to in is was that for it with as his on be at by had not are but from or have an they which one you were".split()
    words = common + ["".join(rng.choices("etaoinshrdlucmfwypvbgk", k=rng.randint(3, 10))) for _ in range(20_000)]
    weights = list(accumulate(1 / (i + 3) for i in range(len(words))))
    han = list("的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动") + [chr(c) for c in rng.sample(range(0x4E00, 0x9000), 3000)]
    han_weights = list(accumulate(1 / (i + 3) for i in range(len(han))))
    size = lines = 0
    earlier: list[str] = []
    with path.open("w", encoding="utf-8") as file:
        while size < megabytes * 1e6:
            n, kind = int(length * rng.lognormvariate(0, 0.6)) + 10, rng.random()
            if kind < 0.1 and earlier:
                text = rng.choice(earlier)
                if kind < 0.05:
                    middle = len(text) // 2
                    text = text[:middle] + " changed " + text[middle + 9:]
            elif kind < 0.75: text = " ".join(rng.choices(words, cum_weights=weights, k=n)).capitalize() + "."
            else: text = "".join(rng.choices(han, cum_weights=han_weights, k=2 * n)) + "。"
            if len(earlier) < 2000: earlier.append(text)
            size += file.write(json.dumps({"id": lines, "text": text}, ensure_ascii=False) + "\n") * (3 if text[-1] == "。" else 1)
            lines += 1
    return lines


def child(program: str) -> dict:
    "Seconds and peak memory in MB of a program in an interpreter of its own; it sets `began` when it has imported what it needs."
    code = f"import time, resource\nbegan = time.perf_counter()\n{program}\nprint(time.perf_counter() - began, max(resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))"
    if "import" in program: code = code.replace("began = time.perf_counter()\n", "", 1).replace("#BEGIN", "began = time.perf_counter()")
    done = subprocess.run([sys.executable, "-c", f"if __name__ == '__main__':\n    exec({code!r})"], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, memory = map(float, done.stdout.split()[-2:])
    return {"seconds": seconds, "MB": memory / (1 << 20 if sys.platform == "darwin" else 1 << 10)}


def parse(path: Path, loads: str) -> str:
    module, _, call = loads.partition(":")
    return f"import {module}\n#BEGIN\nfor line in open({str(path)!r}, 'rb'): {module}.{call}"


def measure(megabytes: float, workers: int, length: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "raw.jsonl"), Path(folder, "clean.jsonl")
        lines = write_sample(path, megabytes, length)
        size = path.stat().st_size / 1e6
        print(f"{size:.0f} MB, {lines} lines, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(f"{'what':44} {'s':>8} {'MB/s':>8} {'of parsing':>10} {'peak MB':>8}")
        parsers = {"pydantic_core.from_json (the parser used)": "pydantic_core:from_json(line, cache_strings='none')", "orjson": "orjson:loads(line)", "json": "json:loads(line)"}
        speed = 0.0
        for name, loads in parsers.items():
            try: best = min((child(parse(path, loads)) for _ in range(3)), key=lambda found: found["seconds"])
            except subprocess.CalledProcessError: continue  # orjson is no requirement
            speed = speed or size / best["seconds"]
            print(f"{'parse: ' + name:44} {best['seconds']:8.2f} {size / best['seconds']:8.0f} {size / best['seconds'] / speed:10.2f} {best['MB']:8.0f}", flush=True)
        for crew in sorted({0, workers} - {1}):
            for name, rules in RULES.items():
                program = f"from aquilt.reading.cleaning import Rules, clean_file\nimport numpy, pycld2, pydantic_core, rensa, tqdm\n#BEGIN\nclean_file({str(path)!r}, {str(out)!r}, {rules}, workers={crew}, progress=False)"
                best = child(program)
                print(f"{f'clean: {name}' + (f', {crew} workers' if crew else ''):44} {best['seconds']:8.2f} {size / best['seconds']:8.0f} {size / best['seconds'] / speed:10.2f} {best['MB']:8.0f}", flush=True)


if __name__ == "__main__":
    measure(float(sys.argv[1]) if len(sys.argv) > 1 else 100, int(sys.argv[2]) if len(sys.argv) > 2 else os.cpu_count() or 1, float(sys.argv[3]) if len(sys.argv) > 3 else 150)
