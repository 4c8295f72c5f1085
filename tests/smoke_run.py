"""A run at profile smoke through the command, and what is the same in two runs. Two files of tests compare with one undisturbed run: whoever made it leaves its digests where all workers find them."""
import json
import os
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import aquilt
from aquilt.runner.report import measured

ROOT = Path(aquilt.__file__).parents[1]
STAGES = ["corpus", "labeled", "distillation", "filtering", "synthesiser", "inspection_data", "inspector"]
EQUAL = ("records.jsonl", "dropped.jsonl", "adapter_model.safetensors")  # what a stage leaves; other files hold times, paths or the order of replies


def started(folder, *more):
    "The command, its files in a folder and its processes in a group of their own."
    environment = {**os.environ, "AQUILT_FIGURES_DIR": str(folder / "figures"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "aquilt", "reproduce", "--profile", "smoke", "--run-dir", str(folder / "run"), *more]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finished(folder, *more):
    "The command to its end."
    process = started(folder, *more)
    out, err = process.communicate()
    assert process.returncode == 0, err[-2000:]
    return out


def comparable(folder):
    "A digest of every record, ledger, adapter, measurement, table and figure of a run, to compare with another's."
    stages = [p for p in (folder / "run").rglob("*") if p.name in EQUAL]
    figures = [p for p in (folder / "figures").iterdir() if p.name not in ("report.html", "seconds.json")]
    results = {p: json.dumps(measured(json.loads(p.read_text(encoding="utf-8"))), sort_keys=True).encode() for p in (folder / "run").rglob("result.json")}
    contents = results | {p: p.read_bytes() for p in stages + figures}
    return {p.relative_to(folder).as_posix(): sha256(content).hexdigest() for p, content in contents.items()}


def common(tmp_path_factory, worker_id):
    "The file of an undisturbed run's digests, the same for all workers of a test run."
    base = tmp_path_factory.getbasetemp()
    return (base if worker_id == "master" else base.parent) / "undisturbed.json"


def await_digests(path, seconds=2_700):
    "The digests, when the other worker has left them."
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"no undisturbed run in {seconds} s"
        time.sleep(2)
    return json.loads(path.read_text(encoding="utf-8"))
