"""Commands killed at random moments and repeated: do their files equal an undisturbed run's? `bench_kills.py [KILLS] [RUN]`.

`corpus` and `filter` are killed; with the folder of a finished run at profile smoke or mini, `synthesize` is, too. (`reproduce`: AQUILT_KILLS of tests/test_smoke.py.)
"""
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = "river city bridge mill ship market tower harbour council winter summer stone road field church school garden island coast forest".split()


def sentence(rng):
    return " ".join(rng.choices(WORDS, k=rng.randrange(8, 16))).capitalize() + "."


def write_inputs(folder, rng):
    "A text of some megabytes, and records to filter."
    (folder / "text.txt").write_text("\n\n".join(" ".join(sentence(rng) for _ in range(6)) for _ in range(4000)))
    rows = [{"text": sentence(rng), "question": f"{sentence(rng)[:-1]}?", "answer": rng.choice(WORDS), "task": "closed_book_qa", "lang": "en"} for _ in range(40_000)]
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "short.txt").write_text("\n\n".join(sentence(rng) for _ in range(40)))


def commands(run):
    found = {"corpus": ["corpus", "text.txt", "--out", "OUT/passages.jsonl"], "filter": ["filter", "records.jsonl", "OUT/kept.jsonl"]}
    if run: found["synthesize"] = ["synthesize", "short.txt", "--task", "closed_book_qa", "--lang", "en", "--out", "OUT/records.jsonl", "--run-dir", str(Path(run).absolute()), "--profile", Path(run).name]
    return found


def start(words, out):
    return subprocess.Popen([sys.executable, "-m", "aquilt", *(word.replace("OUT", str(out)) for word in words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def files(out):
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if not path.name.endswith((".completions.jsonl", ".scores.jsonl"))}


def main(kills=50, run=""):
    rng, home = random.Random(0), Path(tempfile.mkdtemp())
    os.environ["PYTHONPATH"] = os.getcwd()
    os.chdir(home)
    write_inputs(home, rng)
    for name, words in commands(run).items():
        began = time.monotonic()
        undisturbed, differ = home / name, 0
        error = start(words, undisturbed).communicate()[1]
        whole, expected = time.monotonic() - began, files(undisturbed) if undisturbed.exists() else {}
        assert expected, error.decode()[-500:]
        for number in range(kills):
            out = home / f"{name}{number}"
            process = start(words, out)
            time.sleep(rng.uniform(0.2, whole))
            if process.poll() is None: os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            start(words, out).communicate()
            differ += files(out) != expected
        print(f"{name}: {kills} kills within {whole:.1f} s, {differ} ended otherwise than an undisturbed run")


if __name__ == "__main__": main(*([int(sys.argv[1])] if sys.argv[1:] else []), *sys.argv[2:])
