"""The whole method at profile smoke, through the command, papermill and every notebook: minutes. Its digests are left for test_smoke_killed.py."""
import json
import shutil
import subprocess
from dataclasses import replace

import pytest

from smoke_run import ROOT, STAGES, common, comparable, finished
from stages import done

from aquilt.benchmarks import domain, suite
from aquilt.data_sources import AQUILT, data
from aquilt.evaluation.metrics import SCORERS
from aquilt.foundations import runs
from aquilt.foundations.core import PACKAGE, file_hash, write_json
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.runs import Run
from aquilt.foundations.scenes import Benchmark
from aquilt.reading import scenes
from aquilt.runner.reproduce import find_notebooks
from aquilt.runner.status import status
from aquilt.specialists import main_cells, specialist, synthesize_domain, table_2

NOTEBOOKS = [path.stem for path in find_notebooks(ROOT / "nbs")]
FIGURES = [
    f"table_{n}.{suffix}" for n in (1, 2, "2_cells", 3, 4, 5, 6, 7, 8, "claims", "claims_2", "claims_5", "costs", "cost_shares", "truth", "judge", "judge_bill", "judge_filter", "judge_truth", "relevance", "variety", "quality",
         "thresholds", "reliability", "audit") for suffix in ("md", "csv")] + [
    f"figure_{n}.{suffix}" for n in (1, 2, 3, 4, 7, "case", "claims", "costs", "inspection", "quality", "score_cost", "thresholds") for suffix in ("png", "svg")] + ["report.html", "results.json"]


def unchanged():
    "What git says of the tree, where this is a checkout."
    return subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, worker_id):
    folder, before, digests = tmp_path_factory.mktemp("undisturbed"), unchanged(), None
    try:
        finished(folder)
        digests = comparable(folder)  # before the tests of this file change the run
    finally: write_json(common(tmp_path_factory, worker_id), digests)  # null where there was no run
    assert unchanged() == before, "a run wrote in the tree"
    return folder


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


def test_a_cell_whose_result_is_gone_is_done_again_and_nothing_else(undisturbed):
    results = sorted((undisturbed / "run").rglob("result.json"))
    lost = next(path for path in results if "specialists/ceval" in path.as_posix() and "AQuilt" in path.as_posix())
    before, table = {path: path.stat().st_mtime_ns for path in results}, (undisturbed / "figures/table_2.md").read_bytes()
    lost.unlink()
    finished(undisturbed)
    assert [path for path in results if path.stat().st_mtime_ns != before[path]] == [lost]
    assert (undisturbed / "figures/table_2.md").read_bytes() == table


# ---- what is stale

@pytest.fixture
def run(undisturbed, monkeypatch):
    "The undisturbed run, opened."
    monkeypatch.setenv("AQUILT_FIGURES_DIR", str(undisturbed / "figures"))
    return Run(SMOKE, undisturbed / "run")


def states(run):
    return {row["stage"]: (row["state"], row["why"]) for row in status(run)}


def test_everything_is_done_and_made_by_the_code_of_the_package(run):
    assert {state for state in states(run).values()} == {("done", "")}, "notebooks and package have the same sources"


def behind(run, stage):
    "All stages that a stage rests on, at first or at second hand."
    inputs = set(run.result(stage)["inputs"])
    return inputs.union(*(behind(run, other) for other in inputs))


EDITED = {  # a prompt, and the stages that send it or train on it
    "prompts/en/logic.txt": {"distillation"},
    "prompts/en/inspection.txt": {"inspection_data", "without_logic/inspection_data", "quality", "quality_again"},
    "prompts/zh/task_without_logic/single_choice.txt": {f"without_logic/{stage}" for stage in ("synthesiser", "inspection_data", "synthesis/ceval")},
    "prompts/en/evaluation/squadqa.txt": {"specialists/squadqa", "self_instruct_with_text/squadqa"}}


@pytest.mark.parametrize("name", EDITED)
def test_an_edited_prompt_makes_exactly_its_stages_stale(run, name, monkeypatch):
    users = {path.parent.relative_to(run.root).as_posix() for path in run.root.rglob("result.json") if name in json.loads(path.read_text())["files"]}
    parts = {"specialists": 2, "quality": 1, "quality_again": 1}  # of a stage's name, how many are compared
    assert {"/".join(stage.split("/")[:parts.get(stage.split("/")[0])]) for stage in users} == EDITED[name]
    with monkeypatch.context() as edit:  # the file itself stays: pages and other tests read it meanwhile
        edit.setattr(runs, "file_hash", lambda file: "another" if file == name else file_hash(file))
        found = states(run)
    stale = {stage for stage, (_, why) in found.items() if f"{name} has changed" in why}
    first = {stage for stage in users if not users & behind(run, stage)}
    assert first <= stale <= users, "those that use it"
    assert all(state == ("done", "") or "first" in state[1] for stage, state in found.items() if stage not in stale), "and those that read them"
    assert {state for state in states(run).values()} == {("done", "")}, "edited back, they are done again"


# ---- a sixth benchmark and a third base

def capitals(p, stage): return suite(SMOKE)["squadqa"].passages(p, stage)
def asked(p): return [{"prompt": f"What is the capital of land {i}?", "references": [f"City {i}"]} for i in range(3)]
def question(record): return record.question


SIXTH = Benchmark("capitals", ("en",), "closed_book_qa", capitals, asked, SCORERS["squadqa"], question)


def test_a_sixth_benchmark_and_a_third_base_reach_table_2(run, monkeypatch, tmp_path):
    invented = replace(scenes.MINIATURE, benchmarks=(*scenes.MINIATURE.benchmarks, SIXTH))
    monkeypatch.setitem(scenes.SCENES, "miniature", invented)
    shutil.copytree(PACKAGE / "data/models/qwen2-instruct", tmp_path / "third")
    wider = Run(replace(SMOKE, specialist_bases=(*SMOKE.specialist_bases, str(tmp_path / "third")), samples=64), run.root)
    for stage in (domain(wider, SIXTH), synthesize_domain(wider, SIXTH), data(wider, AQUILT, SIXTH)): done(wider, stage)
    cells = [cell for cell in main_cells(wider) if cell.benchmark is SIXTH]
    assert {cell.base for cell in cells} == set(wider.profile.specialist_bases)
    for cell in cells: done(wider, specialist(wider, cell))
    table = table_2(wider).set_index(["base", "source", "benchmark"])
    assert len(table) == 3 * 7 * 7
    own = table.xs("capitals", level="benchmark")
    asked = own.index.get_level_values("source").isin(["None", "AQuilt"])
    assert set(own[asked]["n"]) == {3} and set(own[~asked]["corrected"]) == {"missing", "NA"} and all(own[~asked]["note"]), "the others say why they have none"
    assert (table.xs("None", level="source").xs("capitals", level="benchmark")["corrected"] != "missing").all() and set(table.xs("capitals", level="benchmark")["paper"]) == {""}
    assert table.loc[(str(tmp_path / "third"), "AQuilt", "ceval"), "corrected"] == "missing"
    shutil.rmtree(run.root / "specialists/capitals")
    for stage in ("domain", "synthesis", "data"): shutil.rmtree(run.root / stage / "capitals")
