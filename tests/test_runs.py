"""A stage is done when its result is written, and the result is written last: what is skipped, what is done again, and what a kill leaves."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import aquilt
from aquilt.foundations import runs
from aquilt.foundations.core import Drop, Record, UserError, write_text
from aquilt.foundations.profiles import PROFILES, SMOKE
from aquilt.foundations.runs import Run, environment, figures_dir, hand_over, ledger_table, open_run, project_root, save_figure, save_table

ROOT = Path(aquilt.__file__).parents[1]


@pytest.fixture
def run(tmp_path, monkeypatch):
    "A run whose results do not wait for the versions of the packages."
    monkeypatch.setattr(runs, "environment", dict)
    monkeypatch.setenv("AQUILT_FIGURES_DIR", str(tmp_path / "figures"))
    return Run(SMOKE, tmp_path / "run")


class Work:
    "Work that counts how often it is done."
    def __init__(self, **metrics): self.times, self.metrics = 0, metrics

    def __call__(self, folder):
        self.times += 1
        return self.metrics | {"time": self.times}


def result(run, stage):
    return run.folder(stage) / "result.json"


# ---- what is skipped and what is done again

def test_a_stage_that_is_done_is_skipped(run):
    work = Work(n=5)
    first = run.stage("a", work, size=3, names=("x", "y"))
    before = result(run, "a").stat().st_mtime_ns
    assert run.stage("a", work, size=3, names=("x", "y")) == json.loads(json.dumps(first)) == run.result("a")
    assert work.times == 1 and result(run, "a").stat().st_mtime_ns == before


def test_a_skipped_stage_returns_what_the_first_run_returned(run):
    work = Work(scores={1: 3, 2: 4}, pair=(1, 2))
    assert run.stage("a", work, names=("x",)) == run.stage("a", work, names=("x",))


@pytest.mark.parametrize("changed", [{"size": 4}, {"size": "3"}, {"size": 3, "more": 1}, {}])
def test_a_changed_setting_does_it_again(run, changed):
    work = Work()
    first, second = run.stage("a", work, size=3), run.stage("a", work, **changed)
    assert work.times == 2 and first["hash"] != second["hash"] and run.result("a") == second


def test_a_changed_stage_before_it_does_it_again(run):
    a, b, c = Work(), Work(), Work()
    def whole(size):
        run.stage("a", a, size=size)
        run.stage("b", b, inputs=("a",))
        run.stage("c", c, inputs=("b",))
        return a.times, b.times, c.times
    assert [whole(size) for size in (1, 1, 2, 2)] == [(1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2)]
    assert run.result("c")["inputs"] == {"b": run.result("b")["hash"]}


def test_a_stage_repeated_with_the_same_settings_leaves_the_next_one_done(run):
    a, b = Work(), Work()
    for _ in range(2):
        result(run, "a").unlink(missing_ok=True)
        run.stage("a", a)
        run.stage("b", b, inputs=("a",))
    assert (a.times, b.times) == (2, 1)


def test_a_missing_result_is_done_again(run):
    work = Work()
    first = run.stage("a/deep/er", work)
    result(run, "a/deep/er").unlink()
    assert run.stage("a/deep/er", work)["hash"] == first["hash"] and work.times == 2


def test_two_stages_with_equal_settings_have_their_own_hashes(run):
    assert run.stage("a", Work(), seed=0)["hash"] != run.stage("b", Work(), seed=0)["hash"]


def test_a_missing_input_names_its_file_and_what_to_do(run):
    work = Work()
    with pytest.raises(UserError, match="a/result.json does not exist: .*aquilt reproduce --profile smoke"): run.stage("b", work, inputs=("a",))
    assert work.times == 0 and not run.folder("b").exists()


# ---- damage

NOT_JSON = [b"", b"{", b'{"hash": ', b"nonsense"]
NOT_A_RESULT = [b"{}", b"null", b"[]", b'"x"', b"\xff\xfe\x00"]
asked = pytest.mark.parametrize("ask", [lambda run, work: run.stage("a", work), lambda run, work: run.stage("b", work, inputs=("a",))], ids=["its own", "an input"])


def refused(run, content, ask):
    result(run, "a").parent.mkdir(parents=True)
    result(run, "a").write_bytes(content)
    work = Work()
    with pytest.raises(UserError) as caught: ask(run, work)
    assert str(result(run, "a")) in str(caught.value) and "delete it" in str(caught.value) and work.times == 0
    result(run, "a").unlink()
    assert run.stage("a", work)["time"] == 1


@asked
@pytest.mark.parametrize("content", NOT_JSON)
def test_a_damaged_result_is_one_clear_sentence(run, content, ask):
    refused(run, content, ask)


@asked
@pytest.mark.parametrize("content", NOT_A_RESULT)
def test_a_result_of_something_else_is_one_clear_sentence(run, content, ask):
    refused(run, content, ask)


# ---- the result is written last

def test_the_result_is_written_last_and_says_what_was_done(run):
    seen = []
    def work(folder):
        seen.append(sorted(p.name for p in folder.iterdir()))
        return hand_over(folder, "a", 2, [Record(text="u")], [Drop(stage="a", reason="short")])
    made = run.stage("a", work, size=3)
    assert seen == [["config.json"]] and sorted(p.name for p in run.folder("a").iterdir()) == ["config.json", "dropped.jsonl", "records.jsonl", "result.json"]
    assert result(run, "a").stat().st_mtime_ns >= max(p.stat().st_mtime_ns for p in run.folder("a").iterdir())
    assert made["stage"] == "a" and made["profile"] == "smoke" and made["config"] == {"size": 3} and made["inputs"] == {} and made["seconds"] >= 0
    config = json.loads((run.folder("a") / "config.json").read_text())
    assert config == {k: made[k] for k in ("stage", "profile", "config", "inputs", "hash")}


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError, RuntimeError, SystemExit])
def test_interrupted_work_leaves_no_result_and_is_repeated(run, error):
    def stopped(folder):
        (folder / "half").write_text("x")
        raise error("stop")
    with pytest.raises(error): run.stage("a", stopped)
    assert not result(run, "a").exists() and (run.folder("a") / "half").exists()
    with pytest.raises(UserError, match="does not exist"): run.result("a")
    work = Work()
    run.stage("a", work)
    assert work.times == 1 and run.stage("a", work)["time"] == 1


def test_an_old_result_is_gone_before_the_work_is_done_anew(run):
    run.stage("a", Work(), size=1)
    def stopped(folder): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): run.stage("a", stopped, size=2)
    assert not result(run, "a").exists()
    work = Work()
    run.stage("a", work, size=1)
    assert work.times == 1


def test_counts_that_do_not_reconcile_end_the_stage_without_a_result(run):
    with pytest.raises(RuntimeError, match="a: 3 entered"): run.stage("a", lambda folder: hand_over(folder, "a", 3, [Record()], []))
    assert not result(run, "a").exists()


# ---- a kill

KILLED = """
import sys, time
from pathlib import Path
from aquilt.foundations import runs
from aquilt.foundations.core import Drop, Record
from aquilt.foundations.profiles import SMOKE
runs.environment = dict
run, pause = runs.Run(SMOKE, Path(sys.argv[1])), float(sys.argv[2])
def work(folder):
    records = []
    for i in range(60):
        (folder / f"step{i % 7}").write_text(str(i))
        records.append(Record(text=f"passage {i}", seed=i))
        time.sleep(pause)
    dropped = [Drop(stage="a", reason="third", record=r) for r in records[::3]]
    return runs.hand_over(folder, "a", 60, [r for i, r in enumerate(records) if i % 3], dropped)
run.stage("a", work, size=60)
run.stage("b", lambda folder: runs.hand_over(folder, "b", 40, run.records("a"), []), inputs=("a",))
"""


def test_a_killed_stage_repeated_ends_as_one_that_was_not_disturbed(tmp_path):
    script, environ = tmp_path / "stage.py", {**os.environ, "PYTHONPATH": str(ROOT)}
    script.write_text(KILLED)
    start = lambda folder, pause: subprocess.Popen([sys.executable, str(script), str(tmp_path / folder), str(pause)], env=environ)
    process, deadline = start("killed", 0.2), time.time() + 30
    while not (tmp_path / "killed/a/step2").exists() and time.time() < deadline: time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert (tmp_path / "killed/a/step2").exists() and not (tmp_path / "killed/a/result.json").exists() and not (tmp_path / "killed/b").exists()
    assert start("killed", 0).wait() == start("undisturbed", 0).wait() == 0

    def files(folder):
        found = {str(p.relative_to(tmp_path / folder)): p.read_bytes() for p in (tmp_path / folder).rglob("*") if p.is_file()}
        return found | {name: json.loads(content) | {"seconds": 0} for name, content in found.items() if name.endswith("result.json")}
    assert files("killed") == files("undisturbed") and len(files("killed")) == 7 + 2 * 4


# ---- opening a run

def test_an_unknown_profile_lists_the_names(monkeypatch, tmp_path):
    monkeypatch.setenv("AQUILT_RUN_DIR", str(tmp_path / "run"))
    with pytest.raises(UserError, match=f"'huge'.*{', '.join(PROFILES)}"): open_run("huge")
    assert not (tmp_path / "run").exists()


def test_the_run_directory_is_the_named_one(monkeypatch, tmp_path):
    monkeypatch.setenv("AQUILT_RUN_DIR", str(tmp_path / "deep/er"))
    opened = open_run("smoke")
    assert opened == Run(SMOKE, tmp_path / "deep/er") and opened.root.is_dir()


def test_the_run_directory_is_in_the_project(monkeypatch, tmp_path):
    (tmp_path / "nbs").mkdir()
    (tmp_path / "settings.ini").write_text("")
    monkeypatch.chdir(tmp_path / "nbs")
    for name in ("AQUILT_RUN_DIR", "AQUILT_FIGURES_DIR"): monkeypatch.delenv(name, raising=False)
    opened = open_run("mini")
    assert opened.root == tmp_path / "runs/mini" and figures_dir(opened) == tmp_path / "figures/mini" and project_root() == tmp_path


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_an_unwritable_run_directory_is_one_clear_sentence(monkeypatch, tmp_path, name):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AQUILT_RUN_DIR", str(tmp_path / name))
    with pytest.raises(UserError, match=f"{tmp_path / name}.*--run-dir"): open_run("smoke")


def test_the_environment_says_what_a_result_was_made_with():
    made = environment()
    assert made["python"] == ".".join(map(str, sys.version_info[:3])) and {"torch", "transformers", "trl", "peft"} <= set(made["packages"]) and made["device"]
    assert json.loads(json.dumps(made)) == made


# ---- what a stage hands over

def test_records_and_ledger_are_read_back(run):
    kept, dropped = [Record(text="u", span=(0, 1), score=4)], [Drop(stage="a", reason="short", raw="v", record=Record(text="v"))]
    run.stage("a", lambda folder: hand_over(folder, "a", 2, kept, dropped))
    assert run.records("a") == kept and run.drops("a") == dropped and run.result("a")["counts"] == {"entered": 2, "kept": 1, "dropped": 1, "reasons": {"short": 1}}


def test_records_of_a_stage_that_was_not_done_are_refused(run):
    with pytest.raises(UserError, match="records.jsonl does not exist"): run.records("a")
    with pytest.raises(UserError, match="dropped.jsonl does not exist"): run.drops("a")


def test_the_ledger_table_has_a_row_for_each_stage(run):
    for stage, reasons in (("a", ["short", "empty", "short"]), ("b", [])):
        run.stage(stage, lambda folder: hand_over(folder, stage, len(reasons) + 1, [Record()], [Drop(stage=stage, reason=r) for r in reasons]))
    table = ledger_table(run, ["b", "a"])
    assert table.values.tolist() == [["b", 1, 1, 0, ""], ["a", 4, 1, 3, "empty: 1, short: 2"]] and list(table.columns) == ["stage", "entered", "kept", "dropped", "reasons"]
    with pytest.raises(UserError, match="c/result.json"): ledger_table(run, ["a", "c"])


# ---- tables and figures

def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_table_is_the_same_bytes_twice(run, tmp_path):
    import pandas
    table = pandas.DataFrame([{"name": "a|b, \"c\"", "score": 1.5, "n": None}, {"name": "城市", "score": float("nan"), "n": 2}])
    saved, first = save_table(table, run, "table_9", "Profile smoke, n = 2."), contents(tmp_path / "figures")
    save_table(table, run, "table_9", "Profile smoke, n = 2.")
    assert contents(tmp_path / "figures") == first and set(first) == {"table_9.csv", "table_9.md", "table_9.json"}
    assert saved == tmp_path / "figures/table_9.csv" and pandas.read_csv(saved, keep_default_na=False).values.tolist() == [['a|b, "c"', "1.5", ""], ["城市", "", "2.0"]]
    lines = first["table_9.md"].decode().split("\n")
    assert lines[0] == "Profile smoke, n = 2." and lines[2:6] == ["| name | score | n |", "| --- | --- | --- |", '| a\\|b, "c" | 1.5 |  |', "| 城市 |  | 2.0 |"]
    assert json.loads(first["table_9.json"]) == {"caption": "Profile smoke, n = 2."}


def test_a_figure_is_the_same_bytes_twice_and_is_closed(run, tmp_path):
    import matplotlib.pyplot as plt
    def draw():
        figure, axis = plt.subplots(figsize=(2, 2))
        axis.plot([1, 2], [2, 1], label="line")
        axis.legend()
        return save_figure(figure, run, "figure_9", "Profile smoke.")
    open_before = plt.get_fignums()
    saved, first = draw(), contents(tmp_path / "figures")
    draw()
    assert contents(tmp_path / "figures") == first and set(first) == {"figure_9.png", "figure_9.svg", "figure_9.json"} and plt.get_fignums() == open_before
    assert saved == tmp_path / "figures/figure_9.png" and first["figure_9.png"].startswith(b"\x89PNG")


def test_an_unwritable_figures_folder_is_refused(run, tmp_path):
    import pandas
    write_text(tmp_path / "figures", "a file")
    with pytest.raises(UserError, match="table_9.csv"): save_table(pandas.DataFrame([{"a": 1}]), run, "table_9", "c")


def test_an_unwritable_figures_folder_is_refused_for_figures(run, tmp_path):
    import matplotlib.pyplot as plt
    write_text(tmp_path / "figures", "a file")
    with pytest.raises(UserError, match="figure_9"): save_figure(plt.figure(), run, "figure_9")
