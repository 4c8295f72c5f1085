"""The peak memory of a training beside what `aquilt doctor` promises, at several shapes of a micro-batch.

usage: python tests/benchmarks/bench_memory.py [MODEL] [ROWSxTOKENS ...]

Each shape is trained for two updates in a process of its own; its peak is the kernel's own count (ru_maxrss).
"""
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from aquilt.foundations.workers import MEMORY
from aquilt.models.engines import model_path

SHAPES = ("1x512", "4x512", "2x1024")


def train(model, rows, tokens):
    "Two updates on rows of so many tokens, half of them a completion; prints the peak in GiB."
    from transformers import AutoTokenizer

    from aquilt.training import Recipe, fit
    tokenizer = AutoTokenizer.from_pretrained(model)
    words = tokenizer.decode(tokenizer("The keeper of the mountain hut counted clear days. " * tokens).input_ids[:tokens - 2])
    half = len(words) // 2
    with tempfile.TemporaryDirectory() as folder:
        fit(model, [(words[:half], words[half:])] * 2 * rows, Path(folder), Recipe(1e-3, rows, 1, 16, 4096, "float32"))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def main(model="smollm2-135m-instruct", *shapes):
    from aquilt.runner.needs import training_memory
    path = model_path(model)
    for shape in shapes or SHAPES:
        rows, tokens = map(int, shape.split("x"))
        done = subprocess.run([sys.executable, __file__, "--train", path, str(rows), str(tokens)], capture_output=True, text=True, env=os.environ | MEMORY)
        if done.returncode: sys.exit(done.stderr)
        peak, promised = float(done.stdout.split()[-1]), training_memory(path, rows, tokens, 16, "float32", gpu=False)
        print(f"{model}, {shape}: measured {peak:.2f} GiB, promised {promised:.2f}, ratio {promised / peak:.2f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]: train(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else: main(*sys.argv[1:])
