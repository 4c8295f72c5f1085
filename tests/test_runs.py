"""A stage is done when its result is written, and the result is written last: what is skipped, what is done again, and what a kill leaves."""
import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages import done

import aquilt
from aquilt.foundations import core
from aquilt.foundations.core import Drop, Record, UserError, write_text
from aquilt.foundations.profiles import PROFILES, SMOKE
from aquilt.foundations.prompt import FOLDER, template
from aquilt.foundations.runs import (Run, Stage, do_all, environment, figures_dir, hand_over, ledger_table, locked, open_run, project_root, save_figure,
                                     save_table, sheet_cell, why_again)

ROOT = Path(aquilt.__file__).parents[1]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("AQUILT_FIGURES_DIR", str(tmp_path / "figures"))
    return Run(SMOKE, tmp_path / "run")


class Work:
    "Work that counts, in a file beside the run, how often it is done: it is done in another process."
    def __init__(self, run, name="work", **metrics): self.file, self.metrics = run.root.parent / f"{name}.times", metrics

    @property
    def times(self): return len(self.file.read_text()) if self.file.exists() else 0

    def __call__(self, folder):
        self.file.parent.mkdir(exist_ok=True)
        with self.file.open("a") as file: file.write("x")
        return self.metrics | {"time": self.times}


def stage(name, work, inputs=(), models=(), **settings): return Stage(name, work, tuple(inputs), settings, models)


def result(run, name):
    return run.folder(name) / "result.json"


# ---- what is skipped and what is done again

def test_a_stage_that_is_done_is_skipped(run):
    work = Work(run, n=5)
    first = run.do(stage("a", work, size=3, names=("x", "y")))
    before = result(run, "a").stat().st_mtime_ns
    assert run.do(stage("a", work, size=3, names=("x", "y"))) == json.loads(json.dumps(first)) == run.result("a")
    assert work.times == 1 and result(run, "a").stat().st_mtime_ns == before and why_again(run, stage("a", work, size=3, names=["x", "y"])) == []


def lacks(n): return {"counts": {"entered": 9, "kept": 9 - n, "dropped": n, "reasons": {"passing: busy": n, "unreadable: x": 0}}}


def test_a_stage_with_passing_failures_is_done_again_by_the_next_command_and_so_is_what_reads_it(run, monkeypatch):
    down, up, reader = Work(run, "a", **lacks(4)), Work(run, "b", **lacks(0)), Work(run, "c")
    monkeypatch.setenv("AQUILT_COMMAND", "first")
    with pytest.warns(UserWarning, match="a ended with 4 passing failures .*: repeat the command"): first = run.do(stage("a", down))
    run.do(stage("c", reader, ["a"]))
    assert first["passing"] == 4 and why_again(run, stage("a", down)) == [] == why_again(run, stage("c", reader, ["a"])), "in the same command it stands"
    monkeypatch.setenv("AQUILT_COMMAND", "second")
    assert why_again(run, stage("a", down)) == ["4 of its requests failed in passing"]
    with pytest.warns(UserWarning): again = run.do(stage("a", down))
    assert again["hash"] == first["hash"] and why_again(run, stage("c", reader, ["a"])) == [], "nothing came of it, so nothing else is done again"
    monkeypatch.delenv("AQUILT_COMMAND")
    healed = run.do(stage("a", up))
    assert "passing" not in healed and why_again(run, stage("a", up)) == [] and why_again(run, stage("c", reader, ["a"])) == ["a was done again"]


def test_work_is_done_in_another_process(run):
    found = run.do(stage("a", lambda folder: {"pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}))
    assert found["pid"] != os.getpid() and found["threads"] == "1"


@pytest.mark.parametrize("changed, why", [({"size": 4}, ["size was 3, is 4"]), ({"size": "3"}, ["size was 3, is 3"]), ({"size": 3, "more": 1}, ["more was not set, is 1"]),
                                          ({}, ["size was 3, is not set"])])
def test_a_changed_setting_does_it_again(run, changed, why):
    work = Work(run)
    first = run.do(stage("a", work, size=3))
    assert why_again(run, stage("a", work, **changed)) == why
    second = run.do(stage("a", work, **changed))
    assert work.times == 2 and first["hash"] != second["hash"] and run.result("a") == second


def test_a_changed_stage_before_it_does_it_again(run):
    works = [Work(run, name) for name in "abc"]
    def whole(size):
        do_all(run, [stage("c", works[2], ["b"]), stage("a", works[0], size=size), stage("b", works[1], ["a"])])  # asked for in any order
        return [work.times for work in works]
    assert [whole(size) for size in (1, 1, 2, 2)] == [[1, 1, 1], [1, 1, 1], [2, 2, 2], [2, 2, 2]]
    assert run.result("c")["inputs"] == {"b": run.result("b")["hash"]}
    run.do(stage("a", works[0], size=3))
    assert why_again(run, stage("b", works[1], ["a"])) == ["a was done again"]


def test_a_stage_repeated_with_the_same_settings_leaves_the_next_one_done(run):
    a, b = Work(run, "a"), Work(run, "b")
    for _ in range(2):
        result(run, "a").unlink(missing_ok=True)
        run.do(stage("a", a))
        run.do(stage("b", b, ["a"]))
    assert (a.times, b.times) == (2, 1)


def test_two_stages_with_equal_settings_have_their_own_hashes(run):
    assert run.do(stage("a", Work(run), seed=0))["hash"] != run.do(stage("b", Work(run), seed=0))["hash"]


def test_stages_that_read_each_other_are_refused(run):
    with pytest.raises(RuntimeError, match="read each other: a, b"): do_all(run, [stage("a", Work(run), ["b"]), stage("b", Work(run), ["a"])])


def test_a_missing_input_names_its_file_and_what_to_do(run):
    work = Work(run)
    with pytest.raises(UserError, match="a/result.json does not exist: .*aquilt reproduce --profile smoke"): run.do(stage("b", work, ["a"]))
    assert work.times == 0 and not run.folder("b").exists()


def test_other_weights_do_it_again(run, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base/model.safetensors").write_bytes(b"0" * 1_000_000)
    work = Work(run)
    asked = stage("a", work, models=(str(tmp_path / "base"),))
    first = run.do(asked)
    assert why_again(run, asked) == [] and list(first["models"]) == ["base"]
    (tmp_path / "base/model.safetensors").write_bytes(b"1" * 1_000_000)
    assert why_again(run, asked) == ["the model base has other weights"]
    assert run.do(stage("a", work, models=("owner/model",)))["models"] == {"model": "owner/model"}


# ---- the package's own files

@pytest.fixture
def words(monkeypatch, tmp_path_factory):
    "A prompt with one word changed, for a while, in a copy of the package's prompts."
    package = tmp_path_factory.mktemp("package")
    shutil.copytree(FOLDER, package / "prompts")
    monkeypatch.setattr(core, "PACKAGE", package)
    path = package / "prompts/en/correction.txt"
    before, ticks = path.read_bytes(), itertools.count(1)
    def change(more=b""):
        path.write_bytes(before + more)
        os.utime(path, times=(next(ticks),) * 2)  # two writes may fall into one tick of the file system's clock
    return change


def test_an_edited_prompt_does_it_again_and_edited_back_it_is_done(run, words):
    asked = stage("a", lambda folder: {"text": template("correction")})
    first = done(run, asked)
    assert list(first["files"]) == ["prompts/en/correction.txt"] and why_again(run, asked) == []
    words(b"Please.\n")
    assert why_again(run, asked) == ["prompts/en/correction.txt has changed"]
    words()
    assert why_again(run, asked) == [] and done(run, asked) == first
    words(b"Please.\n")
    assert done(run, asked)["text"].endswith("Please.") and run.result("a")["hash"] != first["hash"]


# ---- side by side

def test_results_come_in_the_order_of_the_stages(run):
    found = do_all(run, [stage(name, lambda folder, pause=pause: time.sleep(pause) or {"name": folder.name}) for name, pause in zip("abc", (0.3, 0.1, 0))])
    assert [r["name"] for r in found] == ["a", "b", "c"]


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_jobs_is_refused(run, monkeypatch, jobs):
    monkeypatch.setenv("AQUILT_JOBS", jobs)
    with pytest.raises(UserError, match=f"AQUILT_JOBS .--jobs. is '{jobs}'"): run.do(stage("a", Work(run)))


def test_an_error_leaves_the_others_done(run, monkeypatch):
    monkeypatch.setenv("AQUILT_JOBS", "2")
    def refuse(folder): raise UserError("line 3: not JSON. Restore it.")
    works = {name: Work(run, name) for name in "bc"}
    with pytest.raises(UserError, match="^line 3: not JSON. Restore it.$"):
        do_all(run, [stage("a", refuse), stage("b", lambda folder: time.sleep(0.5) or works["b"](folder)), stage("c", works["c"])])
    assert run.done("b") and not run.done("a")


def test_any_other_error_names_the_stage(run):
    with pytest.raises(RuntimeError, match="a: ZeroDivisionError: division by zero"): run.do(stage("a", lambda folder: 1 / 0))


def test_a_worker_that_dies_is_one_sentence_and_the_next_call_has_a_new_one(run):
    with pytest.raises(UserError, match="^a: its process died, .*--jobs 1"): run.do(stage("a", lambda folder: os.kill(os.getpid(), signal.SIGKILL)))
    assert run.do(stage("a", Work(run)))["time"] == 1


def test_a_full_disk_is_one_sentence(run):
    def full(folder): raise OSError(28, os.strerror(28))
    with pytest.raises(UserError, match=f"No space is left on the disk of {run.folder('a')}: free some"): run.do(stage("a", full))


def test_a_full_disk_that_a_library_reports_is_one_sentence(run):
    def full(folder): raise RuntimeError("I/O error: No space left on device (os error 28)")
    with pytest.raises(UserError, match="No space is left"): run.do(stage("a", full))


def test_two_processes_never_write_one_stage(run):
    with locked(run.folder("a")), pytest.raises(UserError, match=f"Another process is at work in {run.folder('a')}"):
        with locked(run.folder("a"), patience=0.3): pass
    with locked(run.folder("a"), patience=0): pass


# ---- damage

NOT_JSON = [b"", b"{", b'{"hash": ', b"nonsense"]
NOT_A_RESULT = [b"{}", b"null", b"[]", b'"x"', b"\xff\xfe\x00", b"[" * 100_000, *(b'{"stage": "a", "hash": "0", "settings": {}, "inputs": {}, "models": {}, "files": {}, "code": {}, %s}' % wrong
                for wrong in (b'"hash": 5', b'"files": []', b'"inputs": {"a": 5}', b'"code": "x"', b'"counts": 5', b'"seconds": "two"'))]
asked = pytest.mark.parametrize("ask", [lambda run, work: run.do(stage("a", work)), lambda run, work: run.do(stage("b", work, ["a"]))], ids=["its own", "an input"])


@asked
@pytest.mark.parametrize("content", NOT_JSON + NOT_A_RESULT)
def test_a_damaged_result_is_one_clear_sentence(run, content, ask):
    result(run, "a").parent.mkdir(parents=True)
    result(run, "a").write_bytes(content)
    work = Work(run)
    with pytest.raises(UserError) as caught: ask(run, work)
    assert str(result(run, "a")) in str(caught.value) and "delete it" in str(caught.value) and work.times == 0
    result(run, "a").unlink()
    assert run.do(stage("a", work))["time"] == 1


def test_a_result_of_an_older_version_is_done_again_and_refused_as_an_input(run):
    result(run, "a").parent.mkdir(parents=True)
    result(run, "a").write_text('{"stage": "a", "hash": "0123", "config": {}, "inputs": {}}')
    with pytest.raises(UserError, match="a/result.json was written by an older version of aquilt: repeat"): run.do(stage("b", Work(run), ["a"]))
    assert why_again(run, stage("a", Work(run))) == ["written by an older version of aquilt"]
    assert run.do(stage("a", Work(run)))["time"] == 1


# ---- the result is written last

def test_the_result_is_written_last_and_says_what_was_done(run):
    def work(folder): return {"seen": sorted(p.name for p in folder.iterdir())} | hand_over(folder, "a", 2, [Record(text="u")], [Drop(stage="a", reason="short")])
    made = run.do(stage("a", work, size=3))
    assert set(made["seen"]) <= {"log.txt", "progress.json"} and sorted(p.name for p in run.folder("a").iterdir()) == ["dropped.jsonl", "log.txt", "records.jsonl", "result.json"]
    assert result(run, "a").stat().st_mtime_ns >= max(p.stat().st_mtime_ns for p in run.folder("a").iterdir())
    assert made["stage"] == "a" and made["profile"] == "smoke" and made["settings"] == {"size": 3} and made["inputs"] == {} and made["seconds"] >= 0
    assert {"aquilt.foundations.core.Record", "aquilt.foundations.core.Drop"} <= made["code"].keys()


@pytest.mark.parametrize("error", [UserError, RuntimeError, SystemExit])
def test_interrupted_work_leaves_no_result_and_is_repeated(run, error):
    def stopped(folder):
        (folder / "half").write_text("x")
        raise error("stop")
    with pytest.raises((error, UserError)): run.do(stage("a", stopped))
    assert not result(run, "a").exists() and (run.folder("a") / "half").exists()
    with pytest.raises(UserError, match="does not exist"): run.result("a")
    work = Work(run)
    run.do(stage("a", work))
    assert work.times == 1 and run.do(stage("a", work))["time"] == 1


def test_an_old_result_is_gone_before_the_work_is_done_anew(run):
    run.do(stage("a", Work(run, "first"), size=1))
    def stopped(folder): raise UserError("stop")
    with pytest.raises(UserError): run.do(stage("a", stopped, size=2))
    assert not result(run, "a").exists()


def test_counts_that_do_not_reconcile_end_the_stage_without_a_result(run):
    with pytest.raises(RuntimeError, match="a: 3 entered"): run.do(stage("a", lambda folder: hand_over(folder, "a", 3, [Record()], [])))
    assert not result(run, "a").exists()


def test_a_stage_that_keeps_nothing_is_not_done(run):
    drops = [Drop(stage="a", reason=reason) for reason in ("the teacher is away", "empty", "the teacher is away")]
    with pytest.raises(UserError, match="^a: none of 3 records was kept .the teacher is away: 2, empty: 1.: each is in .*dropped.jsonl"):
        run.do(stage("a", lambda folder: hand_over(folder, "a", 3, [], drops)))
    assert not result(run, "a").exists() and run.drops("a") == drops
    assert run.do(stage("b", lambda folder: hand_over(folder, "b", 0, [], [])))["counts"]["kept"] == 0, "nothing entered"


# ---- a kill

KILLED = """
import sys, time
from pathlib import Path
from aquilt.foundations import runs
from aquilt.foundations.core import Drop, Record
from aquilt.foundations.profiles import SMOKE
run, pause = runs.Run(SMOKE, Path(sys.argv[1])), float(sys.argv[2])
def work(folder):
    records = []
    for i in range(60):
        (folder / f"step{i % 7}").write_text(str(i))
        records.append(Record(text=f"passage {i}", seed=i))
        time.sleep(pause)
    dropped = [Drop(stage="a", reason="third", record=r) for r in records[::3]]
    return runs.hand_over(folder, "a", 60, [r for i, r in enumerate(records) if i % 3], dropped)
if __name__ == "__main__":
    run.do(runs.Stage("a", work, settings={"size": 60}))
    run.do(runs.Stage("b", lambda folder: runs.hand_over(folder, "b", 40, run.records("a"), []), ("a",)))
"""


def test_a_killed_stage_repeated_ends_as_one_that_was_not_disturbed(tmp_path):
    script, environ = tmp_path / "stage.py", {**os.environ, "PYTHONPATH": str(ROOT)}
    script.write_text(KILLED)
    start = lambda folder, pause: subprocess.Popen([sys.executable, str(script), str(tmp_path / folder), str(pause)], env=environ)
    process, deadline = start("killed", 0.2), time.time() + 30
    while not (tmp_path / "killed/a/step2").exists() and time.time() < deadline: time.sleep(0.01)
    process.kill()  # the parent alone: its worker has to notice
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
    run.do(stage("a", lambda folder: hand_over(folder, "a", 2, kept, dropped)))
    assert run.records("a") == kept and run.drops("a") == dropped and run.result("a")["counts"] == {"entered": 2, "kept": 1, "dropped": 1, "reasons": {"short": 1}}


def test_records_of_a_stage_that_was_not_done_are_refused(run):
    with pytest.raises(UserError, match="records.jsonl does not exist"): run.records("a")
    with pytest.raises(UserError, match="dropped.jsonl does not exist"): run.drops("a")


def test_the_ledger_table_has_a_row_for_each_stage(run):
    for name, reasons in (("a", ["short", "empty", "short"]), ("b", [])):
        run.do(stage(name, lambda folder: hand_over(folder, name, len(reasons) + 1, [Record()], [Drop(stage=name, reason=r) for r in reasons])))
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


FORMULAS = ["=1+1", "=cmd|' /C calc'!A0", "+cmd|x", "-2+3+cmd|x", "@SUM(A1:A9)", " =1+1", "\t=1", "\r\n=1", "\n=1", "＝1", "－1+cmd", "-1 -2", "--1", "-inf", "+1(2)"]
PLAIN = ["", "-", "-3", "-0.5", "+1.0", "-1,000.5", "-2e-05", "-12.5 %", "-12.5%", "-0.1 ± 0.02", "1-2", "a=b", "'=1", "§ 3 (-1)", "城市"]


@pytest.mark.parametrize("cell", FORMULAS + PLAIN)
def test_no_cell_of_a_table_is_a_formula(run, cell):
    import pandas
    assert sheet_cell(cell) == ("'" if cell in FORMULAS else "") + cell
    with save_table(pandas.DataFrame([{"a": 1, cell: cell}]), run, "table_9", "c").open(encoding="utf-8", newline="") as file: names, values = csv.reader(file)
    assert names[1] == values[1] == sheet_cell(cell)


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
