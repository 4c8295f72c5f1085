"""A run over a Ray cluster: cells as tasks, records by actors, each exactly once, though processes are killed midway."""
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

import aquilt
from aquilt.foundations import cluster
from aquilt.foundations.core import UserError
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.runs import Run, Stage, decides, perform
from aquilt.foundations.workers import Call, side_by_side

ROOT = Path(aquilt.__file__).parents[1]
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: make install-ray")
HEAD = """
import sys, time, ray
from pathlib import Path
for attempt in range(6):  # on a busy machine Ray loses patience with itself
    try: head = ray.init(num_cpus=3, include_dashboard=False, object_store_memory=100 * 2**20, logging_level="ERROR", log_to_driver=False)
    except Exception: ray.shutdown()
    else: break
Path(sys.argv[1]).write_text(head.address_info["address"])
sys.stdin.read()
"""
DRIVER = """
import functools, json, os, signal, sys, time
from pathlib import Path
from aquilt.foundations import cluster
from aquilt.foundations.core import Record, UserError
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.runs import Run, Stage, do_all, hand_over
from aquilt.models.engines import Prompt, Sampling, TransformersEngine, generate_resumable
from aquilt.models.ray import RayEngine, spread_engine
here = Path(sys.argv[1])
run = Run(SMOKE, here / "run")
def say(*words):
    "Write into a file what a test reads: Ray prints between the lines of others."
    with (here / "said").open("a") as file: print(*words, file=file)
def begun(name):
    "Note that this process begins a piece of work; say how often it was begun before."
    with (here / "begun").open("a") as file: file.write(f"{name} {os.getpid()}\\n")
    return (here / "begun").read_text().split().count(name) - 1
"""


def eventually(found, seconds=60):
    "What `found` gives, as soon as it gives anything."
    deadline = time.time() + seconds
    while not (value := found()) and time.time() < deadline: time.sleep(0.1)
    assert value, "it took too long"
    return value


def alive(pid):
    try: return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError: return False


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    "A cluster of three CPUs on this machine, and the variables by which a process finds it."
    folder = tmp_path_factory.mktemp("head")
    (folder / "head.py").write_text(HEAD)
    keys = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex()}
    process = subprocess.Popen([sys.executable, folder / "head.py", folder / "address"], stdin=subprocess.PIPE, env={**os.environ, **keys})
    try:
        address = eventually(lambda: (folder / "address").exists() and (folder / "address").read_text(), 480)
        yield process, keys | {"AQUILT_RAY": address, "PYTHONPATH": str(ROOT)}
    finally:
        if not process.stdin.closed: process.stdin.close()  # it leaves in peace, and takes its processes along
        process.wait(60)


def start(folder, code, variables):
    "A command in a process of its own."
    (folder / "driver.py").write_text(DRIVER + code)
    return subprocess.Popen([sys.executable, folder / "driver.py", folder], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables})


def drive(folder, code, variables):
    "What a command says."
    process = start(folder, code, variables)
    try: return said(folder, process)
    finally: process.kill()


def said(folder, process):
    "What a command said, once it has ended well."
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err[-3000:]
    return (folder / "said").read_text() if (folder / "said").exists() else ""


def work_of(folder):
    "How often each piece of work was begun."
    names = [line.split()[0] for line in (folder / "begun").read_text().splitlines()]
    return {name: names.count(name) for name in sorted(set(names))}


def pid_of(folder, name):
    "The process that began a piece of work, or None."
    lines = (folder / "begun").read_text().splitlines() if (folder / "begun").exists() else []
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), None)


# ---- without Ray

def test_without_ray_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("AQUILT_RAY", "auto")
    with pytest.raises(UserError, match="Ray is not installed: run `make install-ray`"): cluster.joined()


def test_a_stage_that_was_done_meanwhile_is_not_done_again(tmp_path):
    run, times = Run(SMOKE, tmp_path), []
    stage = Stage("a", lambda folder: times.append(1) or {"n": len(times)}, settings={"size": 1})
    for _ in range(2): perform(run, stage, decides(run, stage), {})
    assert len(times) == 1 and run.result("a")["n"] == 1


def test_without_an_address_calls_stay_on_this_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("AQUILT_RAY", raising=False)
    monkeypatch.setattr(cluster, "joined", lambda: pytest.fail("it joins a cluster"))
    assert Run(SMOKE, tmp_path).do(Stage("a", lambda folder: {"n": 1}))["n"] == 1


def test_progress_files_are_read_as_before(tmp_path):
    assert side_by_side([Call("a", lambda: 5, tmp_path / "progress.json")], 1, 1) == [5] and not (tmp_path / "progress.json").exists()


# ---- cells

CELLS = """
SIZE = 3  # edited in the notebook: it is what runs
@functools.cache
def square(x): return x * x
def cell(name):
    def work(folder):
        times = begun(name)
        if name == "cells/2" and not times: time.sleep(120)  # until it is killed
        time.sleep(0.5)
        (folder / "records.txt").write_text(name)
        return {"size": square(SIZE), "threads": os.environ["OMP_NUM_THREADS"], "folder": os.getcwd()}
    return Stage(name, work, settings={"name": name})
found = do_all(run, [cell(f"cells/{i}") for i in range(6)])
say(json.dumps([[r["stage"], r["size"], r["threads"], r["folder"]] for r in found]))
"""


@needs_ray
def test_each_cell_is_done_once_and_the_killed_one_again(head, tmp_path):
    process = start(tmp_path, CELLS, head[1])
    os.kill(eventually(lambda: pid_of(tmp_path, "cells/2"), 300), signal.SIGKILL)
    out = said(tmp_path, process)
    names = [f"cells/{i}" for i in range(6)]
    assert json.loads(out) == [[name, 9, "1", str(tmp_path)] for name in names]
    assert work_of(tmp_path) == dict.fromkeys(names, 1) | {"cells/2": 2}
    assert [(tmp_path / "run" / name / "records.txt").read_text() for name in names] == names
    assert not [*tmp_path.rglob(".seen*"), *tmp_path.rglob("progress.json")]
    assert drive(tmp_path, CELLS, head[1]) == 2 * out and work_of(tmp_path)["cells/0"] == 1


@needs_ray
def test_a_result_is_the_same_with_and_without_ray(head, tmp_path):
    code = """
def work(folder): return hand_over(folder, "a", 3, [Record(text=str(x)) for x in range(3)], [])
do_all(run, [Stage("a", work, settings={"n": 3}), Stage("b", work, ("a",))])
"""
    found = []
    for name, variables in ("ray", head[1]), ("local", head[1] | {"AQUILT_RAY": ""}):
        (tmp_path / name).mkdir()
        drive(tmp_path / name, code, variables)
        files = {path.relative_to(tmp_path / name / "run").as_posix(): path.read_text() for path in (tmp_path / name / "run").rglob("*") if path.is_file() and path.name != "log.txt"}
        found.append({path: json.loads(text) | {"seconds": 0} if path.endswith("result.json") else text for path, text in files.items()})
    assert found[0] == found[1] and "b/result.json" in found[0]


@needs_ray
def test_errors_are_sentences_and_what_had_not_begun_is_taken_back(head, tmp_path):
    out = drive(tmp_path, """
def refuse(folder):
    while not (here / "begun").exists(): time.sleep(0.1)  # until another is at work
    raise UserError("line 3: not JSON. Restore it.")
def long(folder): return begun(folder.name) or time.sleep(8) or {}
try: do_all(run, [Stage("a", refuse), *(Stage(f"b{i}", long) for i in range(8))])
except UserError as e: say(e)
try: do_all(run, [Stage("c", lambda folder: 1 / 0)])
except RuntimeError as e: say(e)
cluster.REPETITIONS = 0
try: do_all(run, [Stage("d", lambda folder: os.kill(os.getpid(), signal.SIGKILL))])
except UserError as e: say(e)
cluster.sees = lambda mark, folder: False
try: do_all(run, [Stage("e", long)])
except UserError as e: say(e)
say(*(p.parent.name for p in run.root.rglob("result.json")))
""", head[1]).splitlines()
    assert out[:2] == ["line 3: not JSON. Restore it.", "c: ZeroDivisionError: division by zero"]
    assert out[2].startswith("d: its process on the cluster died") and str(tmp_path / "run/d/log.txt") in out[2]
    assert f"of the Ray cluster does not see {tmp_path / 'run/e'}" in out[3] and "--run-dir" in out[3]
    done = sorted(out[4].split())
    assert sorted(work_of(tmp_path)) == done and 1 <= len(done) < 8, "what had begun is finished, nothing else is"


@needs_ray
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_command_leaves_nobody_at_work(head, tmp_path, how):
    process = start(tmp_path, """
def long(folder): return begun(folder.name) or time.sleep(120) or {}
try: do_all(run, [Stage("a", long), Stage("b", long)])
except KeyboardInterrupt: say("stopped")
""", head[1])
    pids = [eventually(lambda: pid_of(tmp_path, name), 300) for name in "ab"]
    process.send_signal(how)
    process.communicate(timeout=60)
    assert (tmp_path / "said").exists() == (how is signal.SIGINT)
    eventually(lambda: not any(map(alive, pids)), 30)
    assert not list(tmp_path.rglob("result.json"))


# ---- records

@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tiny_model import make_model
    return make_model(tmp_path_factory.mktemp("model"))


RECORDS = """
class Watched(TransformersEngine):
    "It notes the first prompt of each call; the process that is the first to see prompt 4 is killed."
    def generate(self, prompts, *given, **named):
        if begun(prompts[0].content.split(":")[0]) == 0 and prompts[0].content.startswith("4:") and KILL: os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(prompts, *given, **named)
prompts = [Prompt(f"{i}: " + "Which river? " * (i % 3)) for i in range(12)]
local, greedy, warm = TransformersEngine(MODEL), Sampling(temperature=0, max_tokens=12), Sampling(temperature=1, max_tokens=12, seed=7)
def spread(actors): return RayEngine(MODEL, functools.partial(Watched, MODEL), piece=2, actors=actors)
"""


@needs_ray
def test_records_are_answered_once_in_order_and_the_killed_actors_again(head, tmp_path, model):
    out = drive(tmp_path, f"MODEL, KILL = {str(model)!r}, True" + RECORDS + "assert spread(2).generate(prompts, greedy) == local.generate(prompts, greedy); say('equal')", head[1])
    assert out == "equal\n" and work_of(tmp_path) == {"0": 1, "2": 1, "4": 2, "6": 1, "8": 1, "10": 1}


@needs_ray
def test_sampled_text_does_not_depend_on_the_actors_and_is_that_of_one_process(head, tmp_path, model):
    out = drive(tmp_path, f"MODEL, KILL = {str(model)!r}, False" + RECORDS + """
from dataclasses import replace
one, two = (spread(n).generate(prompts, warm) for n in (1, 2))
assert one == two and one != local.generate(prompts, greedy)
calls = [(prompts[:5], warm), (prompts[5:], replace(warm, seed=8))]
assert dict(spread(2).answered(calls)) == {i: local.generate(*call) for i, call in enumerate(calls)}
told = spread(2).probabilities(prompts[:3], ["a", "b"])
assert told == local.probabilities(prompts[:3], ["a", "b"])
try: spread(2).generate(prompts, greedy, adapter=here / "none")
except UserError as e: say(e)
say(len(list(spread(2).answered([]))), spread(2).generate([], greedy))
""", head[1])
    assert "none holds no adapter_model.safetensors" in out and out.endswith("\n0 []\n")


@needs_ray
def test_a_stage_spreads_its_records_and_its_result_is_that_of_one_process(head, tmp_path, model):
    code = f"MODEL = {str(model)!r}" + """
def work(folder):
    engine, prompts = spread_engine(SMOKE, MODEL), [Prompt(f"{i}: " + "Which river? " * (i % 3)) for i in range(20)]
    found = generate_resumable(engine, prompts, Sampling(temperature=0, max_tokens=8), folder / "completions.jsonl", chunk=16)
    (folder / "engine").write_text(type(engine).__name__)
    return {"texts": [c.text for c in found]}
found = do_all(run, [Stage(name, work, settings={"n": 20}, spread=True) for name in "ab"])
assert found[0]["texts"] == found[1]["texts"]
say(json.dumps(found[0]["texts"]), (run.folder("a") / "engine").read_text())
"""
    found = []
    for name, variables in ("ray", head[1]), ("local", head[1] | {"AQUILT_RAY": ""}):
        (tmp_path / name).mkdir()
        found.append(drive(tmp_path / name, code, variables).rsplit(" ", 1))
    assert found[0][0] == found[1][0] and [name for _, name in found] == ["RayEngine\n", "TransformersEngine\n"]


# ---- no cluster

@needs_ray
@pytest.mark.parametrize("options, sentence", [(["--ray", "ray://here:10001"], "'ray://here:10001': give the address of a cluster"), (["--ray", "auto", "--jobs", "2"], "--jobs counts the stages")])
def test_what_the_command_cannot_give_to_ray_is_a_sentence(tmp_path, options, sentence):
    done = subprocess.run([sys.executable, "-m", "aquilt", "reproduce", "--profile", "smoke", "--run-dir", tmp_path, *options], capture_output=True, text=True)
    assert done.returncode == 2 and sentence in done.stderr, done.stderr[-2000:]


@needs_ray
def test_an_address_without_a_cluster_is_a_sentence(tmp_path):
    out = drive(tmp_path, """
try: do_all(run, [Stage("a", lambda folder: {})])
except UserError as e: say(e)
""", {"AQUILT_RAY": "127.0.0.1:1", "PYTHONPATH": str(ROOT)})
    assert out.startswith("Cannot join the Ray cluster 127.0.0.1:1: ") and "`ray start`" in out


@needs_ray
def test_a_cluster_that_is_gone_is_a_sentence(head, tmp_path):  # the last one: it ends the cluster
    process = start(tmp_path, """
cluster.Pulse.__init__.__defaults__ = (3.0,)
def long(folder): return begun(folder.name) or time.sleep(120) or {}
try: do_all(run, [Stage("a", long)])
except UserError as e: say(e)
""", head[1])
    pid = eventually(lambda: pid_of(tmp_path, "a"), 300)
    head[0].stdin.close()
    began = time.time()
    out = said(tmp_path, process)
    assert "no longer answers. What was finished is kept" in out and time.time() - began < 60
    eventually(lambda: not alive(pid), 30)
