"""Workers: their share of the machine, what they are told, and how they end."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import aquilt
from aquilt.foundations import workers
from aquilt.foundations.core import UserError
from aquilt.foundations.workers import Call, Display, default_jobs, hire, jobs_wanted, progress_of, report, side_by_side

ROOT = Path(aquilt.__file__).parents[1]


def call(folder, function, name="work"): return Call(name, function, folder / name / "progress.json")


# ---- the share of a worker

@pytest.mark.parametrize("given, gpus", [("0,1", ("0", "1")), ("", ()), ("3", ("3",)), ("GPU-abc,", ("GPU-abc",))])
def test_visible_gpus_are_those_that_cuda_sees(monkeypatch, given, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    workers.visible_gpus.cache_clear()
    assert workers.visible_gpus() == gpus
    workers.visible_gpus.cache_clear()


@pytest.mark.parametrize("gpus, n, shares", [("0123", 2, ["02", "13"]), ("01", 2, ["0", "1"]), ("01", 1, ["01"]), ("0", 3, ["0", "", ""]), ("", 2, ["", ""])])
def test_workers_share_the_gpus(monkeypatch, gpus, n, shares):
    monkeypatch.setattr(workers, "visible_gpus", lambda: tuple(gpus))
    monkeypatch.setattr(workers, "IDLE", [])
    assert ["".join(worker.gpus) for worker in hire(n, 1)] == shares


def test_as_many_jobs_as_gpus_or_as_cores_bear(monkeypatch):
    monkeypatch.setattr(workers, "visible_gpus", lambda: ("0", "1", "2"))
    assert default_jobs(1) == default_jobs(0) == 3
    monkeypatch.setattr(workers, "visible_gpus", lambda: ())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert default_jobs(1) == cores and default_jobs(0) == 1 == default_jobs(10 * cores)


def test_jobs_are_those_that_are_told(monkeypatch):
    monkeypatch.setenv("AQUILT_JOBS", "7")
    assert jobs_wanted(1) == 7
    for wrong in ("0", "x", "1.5", "-2"):
        monkeypatch.setenv("AQUILT_JOBS", wrong)
        with pytest.raises(UserError, match="AQUILT_JOBS .--jobs. is "): jobs_wanted(1)


# ---- what a worker is told

def test_a_worker_has_its_threads_and_keeps_its_imports(tmp_path):
    def work(): return os.getpid(), os.environ["OMP_NUM_THREADS"], "wave" in sys.modules, __import__("wave") and True
    first, second = (side_by_side([call(tmp_path, work)], 1, 1)[0] for _ in range(2))
    assert first[0] == second[0] != os.getpid() and first[1] == "1" and (first[2], second[2]) == (False, True)


def test_an_idle_worker_sees_the_environment_and_the_folder_of_today(tmp_path, monkeypatch):
    def work(): return os.environ.get("AQUILT_INVENTED"), os.getcwd()
    assert side_by_side([call(tmp_path, work)], 1, 1) == [(None, os.getcwd())]
    monkeypatch.setenv("AQUILT_INVENTED", "x")
    monkeypatch.chdir(tmp_path)
    assert side_by_side([call(tmp_path, work)], 1, 1) == [("x", str(tmp_path))]
    monkeypatch.delenv("AQUILT_INVENTED")
    assert side_by_side([call(tmp_path, work)], 1, 1)[0][0] is None


def test_what_libraries_print_goes_to_a_file(tmp_path, capfd):
    side_by_side([call(tmp_path, lambda: os.write(2, b"a warning\n"))], 1, 1)
    assert (tmp_path / "work/log.txt").read_text() == "a warning\n" and "a warning" not in capfd.readouterr().err


def test_two_calls_at_a_time(tmp_path):
    def work(): return time.time(), time.sleep(0.4), time.time()
    found = side_by_side([call(tmp_path, work, str(i)) for i in range(4)], 2, 1)
    most = max(sum(a <= moment < b for a, _, b in found) for moment, _, _ in found)
    assert most == 2


# ---- progress

def test_every_bar_becomes_a_line_in_a_file(tmp_path):
    def work():
        from tqdm.auto import tqdm
        for _ in tqdm(range(4), desc="training"): time.sleep(0.3)
        return (tmp_path / "work/progress.json").read_text()
    assert side_by_side([call(tmp_path, work)], 1, 1)[0].startswith('["training')
    assert not (tmp_path / "work/progress.json").exists()


@pytest.mark.parametrize("content, said", [('["training", 1, 4]', ("training", 0.25)), ('["x", 5, null]', ("x", 0.0)), ('["x", 9, 4]', ("x", 1.0)), ("[", ("", 0.0)), (None, ("", 0.0))])
def test_progress_that_can_be_read_or_not(tmp_path, content, said):
    if content is not None: (tmp_path / "p.json").write_text(content)
    assert progress_of(Call("a", str, tmp_path / "p.json")) == said


def test_progress_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setitem(workers.AT_WORK, "progress", tmp_path / "none" / "p.json")
    report("training", 1, 2)


def test_one_display_for_all(tmp_path, capsys):
    (tmp_path / "p.json").write_text('["training", 1, 2]')
    with Display(4) as display:
        display.done = 1
        display.show([Call("a", str, tmp_path / "p.json"), Call("b", str, tmp_path / "none.json")])
        assert display.bar.n == 1.5 and "1 of 4 done; a training 50%, b 0%" in display.bar.postfix


# ---- how a worker ends

def test_a_worker_ends_with_its_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text("import os, sys, time\nfrom pathlib import Path\nfrom aquilt.foundations.workers import Call, side_by_side\n"
                      "def work():\n    Path(sys.argv[1], 'pid').write_text(str(os.getpid()))\n    time.sleep(60)\n"
                      "if __name__ == '__main__': side_by_side([Call('a', work, Path(sys.argv[1], 'p.json'))], 1, 1)\n".replace("Path(sys.argv[1], 'pid')", f"Path({str(tmp_path)!r}, 'pid')"))
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.time() + 30
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.time() < deadline: time.sleep(0.05)
    pid = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    while time.time() < deadline and alive(pid): time.sleep(0.1)
    assert not alive(pid)


def alive(pid):
    try: os.kill(pid, 0)
    except ProcessLookupError: return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def test_after_an_error_no_new_call_is_started(tmp_path):
    def refuse(): raise UserError("no")
    def write(): (tmp_path / "written").touch()
    with pytest.raises(UserError, match="^no$"): side_by_side([call(tmp_path, refuse, "a"), call(tmp_path, write, "b")], 1, 1)
    assert not (tmp_path / "written").exists()
