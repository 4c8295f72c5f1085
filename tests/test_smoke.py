"""The whole method at profile smoke, through the command, papermill and every notebook: minutes. Then the same with a kill in the middle."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import aquilt
from aquilt.runner.report import measured
from aquilt.runner.reproduce import find_notebooks

ROOT = Path(aquilt.__file__).parents[1]
NOTEBOOKS = [path.stem for path in find_notebooks(ROOT / "nbs")]
FIGURES = [f"table_{n}.{suffix}" for n in (1, 2, 3) for suffix in ("md", "csv")] + [f"figure_{n}.{suffix}" for n in (3, 4) for suffix in ("png", "svg")] + ["report.html", "results.json"]
STAGES = ["corpus", "labeled", "distillation", "filtering", "synthesiser", "inspection_data", "inspector"]
EQUAL = ("records.jsonl", "dropped.jsonl", "adapter_model.safetensors")  # what a stage leaves; other files hold times, paths or the order of replies


def started(folder):
    "The command, its files in a folder of its own."
    environment = {**os.environ, "AQUILT_FIGURES_DIR": str(folder / "figures"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "aquilt", "reproduce", "--profile", "smoke", "--run-dir", str(folder / "run")]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(folder):
    "The command to its end."
    process = started(folder)
    out, err = process.communicate()
    assert process.returncode == 0, err[-2000:]
    return out


def unchanged():
    "What git says of the tree, where this is a checkout."
    return subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder, before = tmp_path_factory.mktemp("undisturbed"), unchanged()
    finished(folder)
    assert unchanged() == before, "a run wrote in the tree"
    return folder


def comparable(folder):
    "Every record, ledger, adapter, measurement, table and figure of a run, to compare with another's."
    stages = [p for p in (folder / "run").rglob("*") if p.name in EQUAL]
    figures = [p for p in (folder / "figures").iterdir() if p.name not in ("report.html", "seconds.json")]
    results = {p.relative_to(folder).as_posix(): measured(json.loads(p.read_text(encoding="utf-8"))) for p in (folder / "run").rglob("result.json")}
    return results | {p.relative_to(folder).as_posix(): p.read_bytes() for p in stages + figures}


def test_every_table_and_figure_is_there(undisturbed):
    missing = [name for name in FIGURES if not (undisturbed / "figures" / name).is_file() or not (undisturbed / "figures" / name).stat().st_size]
    assert not missing


def test_every_notebook_ran_at_the_profile(undisturbed):
    for stem in NOTEBOOKS:
        copy = json.loads((undisturbed / "run" / "notebooks" / f"{stem}.ipynb").read_text(encoding="utf-8"))
        assert copy["metadata"]["papermill"]["parameters"] == {"profile": "smoke"} and copy["metadata"]["papermill"]["exception"] is None, stem


def test_every_stage_has_a_result_and_the_counts_reconcile(undisturbed):
    results = json.loads((undisturbed / "figures" / "results.json").read_text(encoding="utf-8"))
    assert set(STAGES) <= {r["stage"] for r in results} and {r["profile"] for r in results} == {"smoke"}
    counted = [r["counts"] for r in results if "counts" in r]
    assert counted and all(c["entered"] == c["kept"] + c["dropped"] and sum(c["reasons"].values()) == c["dropped"] for c in counted)


def test_the_same_command_again_does_nothing(undisturbed):
    before = {p: p.stat().st_mtime_ns for p in (undisturbed / "run").rglob("*") if p.is_file()}
    finished(undisturbed)
    assert {p: p.stat().st_mtime_ns for p in (undisturbed / "run").rglob("*") if p.is_file()} == before


def test_killed_run_ends_as_the_undisturbed_one(undisturbed, tmp_path):
    process = started(tmp_path)
    while not (tmp_path / "run" / "filtering" / "result.json").exists():  # the next stage trains the synthesiser
        assert process.poll() is None, process.communicate()[1][-2000:]
        time.sleep(0.1)
    process.kill()
    process.wait()
    finished(tmp_path)
    expected, found = comparable(undisturbed), comparable(tmp_path)
    assert found.keys() == expected.keys() and not [name for name in expected if found[name] != expected[name]]
