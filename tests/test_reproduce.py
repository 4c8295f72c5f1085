"""The runner on tiny notebooks: order, refusals, failures, resuming, kill and Ctrl-C; then the report and the doctor."""
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

import aquilt
from aquilt.runner import reproduce
from aquilt.foundations.core import UserError, write_json, write_text
from aquilt.foundations.profiles import MINI, PAPER, PROFILES, SINGLE_GPU, SMOKE
from aquilt.runner.report import by_number, drawn_tables, marked, measured, read_results, write_report
from aquilt.runner.doctor import doctor, machine, obstacles
from aquilt.runner.progress import Progress, expected_seconds, stages_at_work
from aquilt.runner.reproduce import check_parameters, choose, failure, find_notebooks, inputs_hash, lanes, pending, read_done, run_notebooks
from aquilt.foundations.runs import Run

ROOT = Path(aquilt.__file__).parents[1]

# What a notebook of the project does, without its work: a stage unless it is done, and a table.
STAGE = """
import os, time
from pathlib import Path
from aquilt.foundations.core import write_json, write_text
from aquilt.foundations.runs import figures_dir, open_run
run = open_run(profile)
def stage(name):
    result = run.folder(name) / "result.json"
    if result.exists(): return
    time.sleep({pause})
    before = sorted(p.parent.name for p in run.root.rglob("result.json"))
    write_json(result, {{"stage": name, "profile": run.profile.name, "before": before, "counts": {{"entered": 2, "kept": 1, "dropped": 1, "reasons": {{"short": 1}}}}, "seconds": time.time()}})
"""


def notebook(path, *cells, parameters='profile = "paper"', tags=("parameters",)):
    "Write a notebook of these code cells behind its parameters cell."
    v4 = nbformat.v4
    first = v4.new_code_cell(parameters, metadata={"tags": list(tags)})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(v4.new_notebook(cells=[v4.new_markdown_cell("# A page"), first, *map(v4.new_code_cell, cells)], metadata=kernel), path)


def page(folder, name, *cells, pause=0.0):
    "A notebook with two stages and a table, named after itself."
    table = f'write_text(figures_dir(run) / "table_{name}.csv", "a,b\\n1,{name}\\n")'
    notebook(folder / f"{name}.ipynb", STAGE.format(pause=pause), f'stage("{name}/a")', f'stage("{name}/b")', table, *cells)


class Project:
    "A folder of notebooks, and one run of them."

    def __init__(self, there):
        self.nbs, self.run, self.figures = there / "nbs", Run(SMOKE, there / "run"), there / "figures"
        self.nbs.mkdir(parents=True)
        self.run.root.mkdir()

    @property
    def notebooks(self):
        return find_notebooks(self.nbs)

    def __call__(self):
        run_notebooks(self.notebooks, self.run, self.figures)

    def pending(self):
        return pending(self.notebooks, self.run, self.figures, read_done(self.run.root / "notebooks" / "done.json"), inputs_hash())

    def executed(self):
        "The moment at which each copy was written."
        return {path.stem: path.stat().st_mtime_ns for path in (self.run.root / "notebooks").glob("*.ipynb")}

    def final(self):
        "Every file that two equal runs should share, and its bytes; executed copies and the page hold times."
        files = [p for folder in (self.run.root, self.figures) for p in folder.rglob("*") if p.is_file() and p.suffix != ".ipynb"]
        unequal = ("report.html", "seconds.json", "done.json")
        return {p.name + p.parent.name: measured(json.loads(p.read_text())) if p.suffix == ".json" else p.read_bytes() for p in files if p.name not in unequal}


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


# ---- which notebooks

def test_order_and_choice(tmp_path):
    names = ["00_core", "00b_profiles", "02a_engines", "31_corpus", "32a_distillation", "32b_filtering", "50_analysis"]
    for name in ["index", "99_reproduce", *reversed(names)]:
        (tmp_path / f"{name}.ipynb").touch()
    found = find_notebooks(tmp_path)
    assert [p.stem for p in found] == names

    def chosen(*only):
        return [p.stem for p in choose(found, only)]

    assert chosen() == names
    assert chosen("50", "32") == ["32a_distillation", "32b_filtering", "50_analysis"]
    assert chosen("00") == ["00_core", "00b_profiles"]
    assert chosen("filtering") == chosen("32b") == chosen("32b_filtering") == ["32b_filtering"]
    for unknown in "3", "", "99_reproduce", "*":
        with pytest.raises(UserError, match="No notebook is called"):
            chosen("31", unknown)


def test_installed_package_has_no_notebooks(tmp_path):
    with pytest.raises(UserError, match="clone the project"):
        find_notebooks(tmp_path / "nbs")


# ---- refusals

@pytest.mark.parametrize("spoil", [
    lambda p: notebook(p, tags=()),
    lambda p: notebook(p, parameters='profile = "smoke"\nseed = 1'),
    lambda p: notebook(p, parameters="# nothing"),
    lambda p: p.write_text("not a notebook"),
    lambda p: p.write_text("{}"),
], ids=["untagged", "two parameters", "no parameter", "no JSON", "no notebook"])
def test_one_bad_notebook_stops_all_before_the_first(project, spoil):
    page(project.nbs, "31_corpus")
    spoil(project.nbs / "32a_distillation.ipynb")
    with pytest.raises(UserError, match="32a_distillation.ipynb"):
        project()
    assert not project.executed() and not read_results(project.run.root)


def test_no_kernel_named(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('profile = "smoke"', metadata={"tags": ["parameters"]})]), tmp_path / "a.ipynb")
    with pytest.raises(UserError, match="a.ipynb"):
        check_parameters(tmp_path / "a.ipynb")


def test_run_directory_of_another_profile(project):
    page(project.nbs, "31_corpus")
    write_json(project.run.folder("corpus") / "result.json", {"stage": "corpus", "profile": "mini"})
    with pytest.raises(UserError, match="profile mini.*at smoke.*--run-dir"):
        project()
    assert not project.executed()


def test_notebook_that_runs_another_profile(project):
    notebook(project.nbs / "31_corpus.ipynb", 'profile = "mini"', STAGE.format(pause=0), 'stage("corpus")')
    with pytest.raises(UserError, match="31_corpus did not run at its profile"):
        project()
    assert json.loads((project.run.root / "notebooks" / "done.json").read_text()) == {}


# ---- a run, and the next

def test_run_then_resume(project, monkeypatch):
    page(project.nbs, "31_corpus", "import os, sys; print(sys.executable, os.environ['IN_TEST'], os.getcwd())")
    page(project.nbs, "32a_distillation")
    page(project.nbs, "33_inspection")
    before = dict(os.environ)
    project()
    assert dict(os.environ) == before
    first = project.executed()
    assert list(sorted(first, key=first.get)) == ["31_corpus", "32a_distillation", "33_inspection"]
    assert json.loads((project.run.folder("33_inspection/b") / "result.json").read_text())["before"] == ["a", "a", "a", "b", "b"]
    copy = nbformat.read(project.run.root / "notebooks" / "31_corpus.ipynb", as_version=4)
    assert [c.source for c in copy.cells if "injected-parameters" in c.metadata.get("tags", [])] == ['# Parameters\nprofile = "smoke"\n']
    assert copy.cells[-1].outputs[0].text.split() == [sys.executable, "1", str(project.nbs)]
    assert [r["stage"] for r in json.loads((project.figures / "results.json").read_text())][0] == "31_corpus/a"
    assert all(len(s) == 7 + (name == "31_corpus") for name, s in json.loads((project.figures / "seconds.json").read_text()).items())
    final, seconds = project.final(), (project.figures / "seconds.json").read_bytes()

    monkeypatch.setattr(reproduce, "execute", lambda *a: pytest.fail("a notebook that was done ran again"))
    project()
    monkeypatch.undo()
    assert project.executed() == first

    def runs_again(*names):
        "What the next call executes; every file is then as it was."
        before = project.executed()
        project()
        again = {name for name, moment in project.executed().items() if moment != before[name]}
        assert again == set(names) and project.final() == final

    (project.figures / "table_32a_distillation.csv").unlink()
    runs_again("32a_distillation", "33_inspection")
    (project.run.root / "33_inspection" / "a" / "result.json").unlink()
    (project.run.root / "33_inspection" / "b" / "result.json").unlink()
    runs_again("32a_distillation", "33_inspection")  # when 32a ended for the second time, these files were there
    (project.run.root / "notebooks" / "33_inspection.ipynb").unlink()
    project()
    assert project.executed().keys() == first.keys() and project.final() == final
    assert (project.figures / "seconds.json").read_bytes() == seconds, "the times of a resumed run were kept"


def test_what_makes_a_notebook_run_again(project):
    for name in "31_corpus", "32a_distillation":
        page(project.nbs, name)
    run, figures, paths = project.run, project.figures, project.notebooks
    (run.root / "notebooks").mkdir()
    for path in paths:
        (run.root / "notebooks" / path.name).touch()
    done = {path.stem: reproduce.record(path, run, figures, "code") for path in paths}
    assert pending(paths, run, figures, done, "code") == []
    assert pending(paths, run, figures, done, "other code") == paths
    assert pending(paths, run, figures / "elsewhere", done, "code") == paths
    assert pending(paths, Run(MINI, run.root), figures, done, "code") == paths
    assert pending(paths, run, figures, {"31_corpus": done["31_corpus"]}, "code") == paths[1:]
    assert pending(paths, run, figures, {"32a_distillation": done["32a_distillation"]}, "code") == paths, "what follows may read something new"
    page(project.nbs, "32a_distillation", "1 + 1")
    assert pending(paths, run, figures, done, "code") == paths[1:]


def test_a_stage_with_passing_failures_is_no_finished_notebook(project):
    for name in "31_corpus", "32a_distillation", "33_inspection": page(project.nbs, name)
    run, figures, paths = project.run, project.figures, project.notebooks
    (run.root / "notebooks").mkdir()
    done = {}
    for path in paths:
        (run.root / "notebooks" / path.name).touch()
        write_text(run.folder(path.stem[3:]) / "result.json", json.dumps({"stage": path.stem[3:], "passing": 5} if "32a" in path.stem else {"stage": path.stem[3:]}))
        done[path.stem] = reproduce.record(path, run, figures, "code")
    assert pending(paths, run, figures, done, "code") == paths[1:]


def test_damaged_record_names_the_file(project):
    page(project.nbs, "31_corpus")
    write_text(project.run.root / "notebooks" / "done.json", "{")
    with pytest.raises(UserError, match=r"done\.json is damaged"):
        project()


# ---- failures

def test_failing_cell_stops_the_run_and_is_named(project):
    page(project.nbs, "31_corpus")
    page(project.nbs, "32a_distillation", "wrong = []\nwrong[3]", "print('not reached')")
    page(project.nbs, "33_inspection")
    with pytest.raises(UserError) as caught:
        project()
    copy = project.run.root / "notebooks" / "32a_distillation.ipynb"
    assert str(caught.value).startswith(f"32a_distillation stopped at cell [7]: IndexError: list index out of range. Its cells as they ran are in {copy};")
    ran = nbformat.read(copy, as_version=4).cells
    assert next(c for c in ran if c.get("execution_count") == 7).source.startswith("wrong") and "not reached" not in str([c.get("outputs") for c in ran])
    assert sorted(project.executed()) == ["31_corpus", "32a_distillation"] and not (project.run.root / "33_inspection").exists()

    first = project.executed()["31_corpus"]
    page(project.nbs, "32a_distillation")
    project()
    assert project.executed()["31_corpus"] == first and (project.figures / "report.html").exists()


def test_user_error_in_a_cell_shows_its_message(project):
    notebook(project.nbs / "31_corpus.ipynb", "from aquilt.foundations.core import UserError\nraise UserError('The file x.jsonl has no field text:\\nadd it.')")
    with pytest.raises(UserError, match=r"31_corpus stopped at cell \[3\]: The file x.jsonl has no field text: add it\. Its cells"):
        project()


def test_a_failure_is_one_line(tmp_path):
    class Error:
        ename, evalue, exec_count, traceback = "ValueError", "first line\nsecond line", 2, []
    assert failure(tmp_path / "a.ipynb", tmp_path / "copy", Error()).startswith("a stopped at cell [2]: ValueError: first line. ")
    Error.ename, Error.evalue = "AssertionError", ""
    assert failure(tmp_path / "a.ipynb", tmp_path / "copy", Error()).startswith("a stopped at cell [2]: AssertionError: no message. ")
    Error.traceback = ["Cell In[2], line 3", "      2 a = 1\n\x1b[32m----> 3\x1b[39m \x1b[38massert\x1b[39m a == 2\n      4 b = 1", "-> 90 deeper"]
    assert failure(tmp_path / "a.ipynb", tmp_path / "copy", Error()).startswith("a stopped at cell [2]: AssertionError: assert a == 2. ")


def test_dead_kernel(project):
    notebook(project.nbs / "31_corpus.ipynb", "import os\nos._exit(1)")
    with pytest.raises(UserError, match="31_corpus stopped without an error of its own.*memory"):
        project()


# ---- kill and Ctrl-C

DRIVER = """
import sys
from pathlib import Path
from aquilt import __main__
from aquilt.runner import reproduce
found = reproduce.find_notebooks(Path(sys.argv.pop(1)))
reproduce.find_notebooks = lambda folder: found
__main__.main()
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("undisturbed"))
    for name in "31_corpus", "32a_distillation":
        page(project.nbs, name)
    project()
    return project.final()


def started(project):
    "The command on this project's notebooks, as a process."
    environment = {**os.environ, "AQUILT_FIGURES_DIR": str(project.figures), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DRIVER, str(project.nbs), "reproduce", "--profile", "smoke", "--run-dir", str(project.run.root)]
    heed = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs tests in the background has its children ignore Ctrl-C
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed)


def wait_for(there, process=None, seconds=60):
    end = time.time() + seconds
    while not there():
        assert time.time() < end and (process is None or process.poll() is None), "it never came"
        time.sleep(0.01)


def kernels(project):
    "The processes whose environment names this run: its kernels."
    mark = f"AQUILT_RUN_DIR={project.run.root}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            found += [int(path.parent.name)] * (mark in path.read_bytes())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("moment", ["run/notebooks/31_corpus.ipynb", "run/31_corpus/a/result.json", "figures/table_31_corpus.csv", "run/32a_distillation/a/result.json", "figures/results.json"])
def test_killed_run_ends_as_an_undisturbed_one(project, undisturbed, moment):
    for name in "31_corpus", "32a_distillation":
        page(project.nbs, name, pause=0.2)
    process = started(project)
    wait_for((project.nbs.parent / moment).exists, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL or moment == "figures/results.json"
    process = started(project)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert project.final() == undisturbed and str(project.figures) in out
    assert "WARNING" not in err, "kernels do not write between the progress"


def test_ctrl_c_says_that_the_same_command_resumes(project):
    page(project.nbs, "31_corpus", "time.sleep(60)")
    process = started(project)
    wait_for((project.figures / "table_31_corpus.csv").exists, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    assert err.rstrip().endswith("aquilt: stopped; the same command goes on from here.")
    if Path("/proc").exists():
        wait_for(lambda: not kernels(project))


# ---- pages beside the method

def beside(project, name, *cells):
    "A page that does not open the run, with these cells."
    notebook(project.nbs / f"{name}.ipynb", "import os, time\nfrom pathlib import Path\nfigures = Path(os.environ['AQUILT_FIGURES_DIR'])\nfigures.mkdir(exist_ok=True)", f"(figures / '{name}').touch()", *cells)


MEETS = """
end = time.time() + 60
while not (figures / "{0}").exists():
    assert time.time() < end
    time.sleep(0.05)
"""


@pytest.fixture
def two_jobs(monkeypatch):
    monkeypatch.setenv("AQUILT_JOBS", "2")


def test_pages_that_do_not_open_the_run_are_beside_those_that_do(project, two_jobs):
    beside(project, "20_first", MEETS.format("table_31_corpus.csv"))
    page(project.nbs, "31_corpus", MEETS.replace("figures", "figures_dir(run)").format("20_first"))
    page(project.nbs, "32a_distillation")
    beside(project, "60_second")
    project()
    assert [[p.stem for p in lane] for lane in lanes(project.notebooks)] == [["31_corpus", "32a_distillation"], ["20_first", "60_second"]]
    assert list(json.loads((project.figures / "seconds.json").read_text())) == ["20_first", "31_corpus", "32a_distillation", "60_second"]
    before = project.executed()
    assert before["20_first"] < before["60_second"] and before["31_corpus"] < before["32a_distillation"]
    project()
    assert project.executed() == before, "all are done"


def test_with_one_job_they_come_one_after_the_other(project, monkeypatch):
    monkeypatch.setenv("AQUILT_JOBS", "1")
    beside(project, "20_first")
    page(project.nbs, "31_corpus")
    beside(project, "60_second")
    project()
    moments = project.executed()
    assert sorted(moments, key=moments.get) == ["20_first", "31_corpus", "60_second"]


def test_what_runs_again_beside_the_method(project, two_jobs):
    beside(project, "20_first")
    for name in "31_corpus", "32a_distillation": page(project.nbs, name)
    beside(project, "60_second")
    project()
    (project.figures / "table_32a_distillation.csv").unlink()
    assert [p.stem for p in project.pending()] == ["32a_distillation"], "a page that does not open the run rests on no figure"
    beside(project, "20_first", "1 + 1")
    assert [p.stem for p in project.pending()] == ["20_first", "32a_distillation"]
    page(project.nbs, "31_corpus", "1 + 1")
    assert [p.stem for p in project.pending()] == ["20_first", "31_corpus", "32a_distillation"]


def test_what_follows_a_chosen_page_is_looked_at_again(project):
    for name in "31_corpus", "32a_distillation", "33_inspection": page(project.nbs, name)
    project()
    page(project.nbs, "32a_distillation", "1 + 1")
    run_notebooks(choose(project.notebooks, ["32a"]), project.run, project.figures)
    assert "33_inspection" in [p.stem for p in project.pending()], "it may read something new"


def test_a_page_that_fails_stops_the_one_beside_it(project, two_jobs):
    page(project.nbs, "31_corpus")
    page(project.nbs, "33_inspection", "time.sleep(120)")
    beside(project, "60_one", MEETS.format("table_33_inspection.csv"), "raise ValueError('spoilt')")
    beside(project, "61_two")
    began = time.time()
    with pytest.raises(UserError, match=r"60_one stopped at cell \[\d+\]: ValueError: spoilt"): project()
    assert time.time() - began < 60 and not (project.run.root / "notebooks" / "61_two.ipynb").exists()
    assert list(json.loads((project.run.root / "notebooks" / "done.json").read_text())) == ["31_corpus"]
    first = project.executed()["31_corpus"]
    beside(project, "60_one"), page(project.nbs, "33_inspection")
    project()
    assert set(project.executed()) == {"31_corpus", "33_inspection", "60_one", "61_two"} and project.executed()["31_corpus"] == first


def test_ctrl_c_stops_both_lanes(project, two_jobs):
    page(project.nbs, "31_corpus", "time.sleep(120)")
    beside(project, "60_one", "time.sleep(120)")
    process = started(project)
    wait_for(lambda: all((project.figures / name).exists() for name in ("table_31_corpus.csv", "60_one")), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and err.rstrip().endswith("the same command goes on from here.")
    if Path("/proc").exists():
        wait_for(lambda: not kernels(project))


# ---- progress

def test_progress_counts_expected_seconds(capsys, tmp_path):
    expected = {"31_corpus": [1.0, 8.0], "32a_distillation": [1.0]}
    with pytest.raises(ValueError), Progress(expected, 3, tmp_path) as progress:
        progress.at("31_corpus", 1)
        progress.at_work["31_corpus"] = 1, time.time() - 4
        progress.show()
        assert 5 <= progress.bar.n < 6 and progress.bar.desc == "31_corpus (4 of 5)"
        progress.at_work["31_corpus"] = 1, time.time() - 100
        progress.show()
        assert progress.bar.n == 9, "no further than the cell was expected to go"
        raise ValueError
    assert "90%" in capsys.readouterr().err and not progress.clock.is_alive()


def test_what_a_killed_run_said_of_its_stages_is_not_shown(tmp_path):
    write_json(tmp_path / "corpus/progress.json", ["reading", 3, 4])
    with Progress({"31_corpus": [1.0]}, 0, tmp_path): assert stages_at_work(tmp_path) == ""


def test_expected_seconds(project):
    page(project.nbs, "31_corpus")
    page(project.nbs, "32a_distillation")
    write_json(project.figures / "seconds.json", {"31_corpus": [0, 0, 0, 0, 2, 3, 0], "32a_distillation": [9]})
    assert expected_seconds(project.notebooks, project.figures) == {"31_corpus": [0.1, 0.1, 0.1, 0.1, 2.1, 3.1, 0.1], "32a_distillation": [1.0] * 7}


# ---- the report

@pytest.fixture
def reported(project):
    "A run of two stages with a figure and two tables."
    write_json(project.run.folder("filtering") / "result.json", {
        "stage": "filtering", "profile": "smoke", "hash": "abc", "settings": {"cap": 1}, "inputs": {}, "models": {}, "files": {}, "code": {}, "counts": {"entered": 3, "kept": 2, "dropped": 1, "reasons": {"<b>short</b>": 1}},
        "train": [{"loss": 1.0, "seconds": 3}], "seconds": 1.5, "environment": {"commit": "c0ffee", "device": "CPU", "python": "3.11", "packages": {"torch": "2.13"}}})
    write_json(project.run.folder("synthesiser") / "result.json", {"stage": "synthesiser", "profile": "smoke", "seconds": 58.5, "environment": {"commit": "beef"}})
    write_text(project.figures / "table_2.csv", 'source,"a ""quoted"" name"\n"two\nlines",<img src=x onerror=alert(1)>\n')
    write_text(project.figures / "table_2.md", "ignored where there is a CSV file")
    write_text(project.figures / "table_10.md", "| <i>only</i> Markdown |")
    (project.figures / "figure_3.png").write_bytes(b"\x89PNG")
    write_json(project.figures / "figure_3.json", {"caption": 'A "figure" & more'})
    return project


def test_report_is_one_escaped_page(reported):
    path = write_report(reported.run, reported.figures)
    text = path.read_text(encoding="utf-8")
    assert path == reported.figures / "report.html"
    assert text.index("Table 2") < text.index("Table 10") and "ignored" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text and "&lt;i&gt;only" in text and "&lt;b&gt;short" in text
    assert set(re.findall(r'(?:src|href)="([^"#]{1,15})', text)) == {"data:image/png;"} and "<script" not in text and "url(" not in text
    assert 'alt="A &#34;figure&#34; &amp; more"' in text
    chapters = re.findall(r'<h2 id="(\w+)"', text)
    assert chapters == ["claims", "tables", "figures", "records", "ledger", "cost", "departures", "environment"] == re.findall(r'href="#(\w+)"', text)
    assert "beef, c0ffee" in text and "torch 2.13" in text and "1.0 minutes" in text and SMOKE.purpose in text


def test_results_are_the_same_twice(reported):
    write_report(reported.run, reported.figures)
    first = (reported.figures / "results.json").read_bytes()
    assert json.loads(first) == [{"stage": "filtering", "profile": "smoke", "counts": {"entered": 3, "kept": 2, "dropped": 1, "reasons": {"<b>short</b>": 1}}, "train": [{"loss": 1.0}]},
                                 {"stage": "synthesiser", "profile": "smoke"}]
    path = reported.run.folder("synthesiser") / "result.json"
    write_json(path, json.loads(path.read_text()) | {"seconds": 99, "environment": {}})
    write_report(reported.run, reported.figures)
    assert (reported.figures / "results.json").read_bytes() == first


def test_report_of_nothing_leaves_the_old_one(project):
    write_text(project.figures / "report.html", "old")
    with pytest.raises(UserError, match="holds no result yet.*aquilt reproduce --profile smoke"):
        write_report(project.run, project.figures)
    assert (project.figures / "report.html").read_text() == "old"


def test_damaged_result_names_the_file(reported):
    write_text(reported.run.folder("filtering") / "result.json", '{"stage": ')
    with pytest.raises(UserError, match=r"filtering.result\.json is damaged"):
        write_report(reported.run, reported.figures)


def test_empty_table_and_numbers(tmp_path):
    write_text(tmp_path / "table_1.csv", "")
    assert drawn_tables(tmp_path)[0]["rows"] == []
    assert sorted(map(Path, ["seed10", "seed2", "b/seed1", "seed"]), key=by_number) == [Path("b/seed1"), Path("seed"), Path("seed2"), Path("seed10")]


# ---- the doctor

HAS = {"memory": 64.0, "gpus": [("a GPU", 80.0)], "vllm": True, "keys": ["JUDGE_API_KEY", "OPENAI_API_KEY"], "offline": False, "notebooks": True, "models": ["llama-instruct", "qwen2", "qwen2-instruct", "smollm2-135m-instruct"]}


def test_obstacles():
    assert all(obstacles(profile, HAS) == [] for profile in PROFILES.values())
    card = HAS | {"gpus": [("a GPU", 12.0)]}
    assert obstacles(SINGLE_GPU, card) == [] and "needs" in obstacles(PAPER, card)[0] and "there are 12.0" in obstacles(PAPER, card)[0]
    for change, reason in [({"gpus": []}, "no CUDA GPU"), ({"vllm": False}, "install-vllm"), ({"keys": ["JUDGE_API_KEY"]}, "OPENAI_API_KEY is not set"), ({"keys": ["OPENAI_API_KEY"]}, "JUDGE_API_KEY is not set, and https://api.openai.com"), ({"offline": True}, "HF_HUB_OFFLINE"),
                           ({"memory": 2.0}, "memory"), ({"notebooks": False}, "papermill")]:
        assert len(found := obstacles(PAPER, HAS | change)) == 1 and reason in found[0]
    assert obstacles(MINI, HAS | {"gpus": [], "vllm": False, "keys": [], "offline": True}) == []
    assert obstacles(MINI, HAS | {"models": ["qwen2"]}) == ["llama-instruct, qwen2-instruct is not here (aquilt model NAME makes it available)"]


def test_doctor_names_every_profile_and_shows_no_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    text = doctor()
    assert all(f"profile {name}" in text for name in PROFILES) and "sk-secret" not in text and "OPENAI_API_KEY" in machine()["keys"]
    assert re.search(r"^API keys +OPENAI_API_KEY$", text, re.MULTILINE)


@pytest.mark.parametrize("cell, html", [("**35.00**", "<b>35.00</b>"), ("_34.17_", "<u>34.17</u>"), ("17.56", "17.56"), ("**<b>**", "**&lt;b&gt;**"), ("_a_", "_a_"), ("NA", "NA")])
def test_the_reports_marks_are_those_of_the_table_and_nothing_else(cell, html): assert str(marked(cell)) == html
