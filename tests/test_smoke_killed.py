"""A run at profile smoke whose processes are killed, with another number of workers: it ends as the undisturbed one of test_smoke.py. A file of its own, so that the other core may have it."""
import os
import random
import signal
import time

import pytest

from smoke_run import STAGES, await_digests, comparable, common, finished, started

from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.runs import Run
from aquilt.specialists import main_cells

KILLS = int(os.environ.get("AQUILT_KILLS", "1"))  # ten in a long test: AQUILT_KILLS=10
MAKING = [word for page in ("31", "32", "33", "34", "41", "42") for word in ("--only", page)]  # the pages whose stages the others read


def test_killed_runs_end_as_the_undisturbed_one(tmp_path, tmp_path_factory, worker_id, request):
    "The whole process group is killed at random moments, and the command repeated with one worker: the files are those of two workers undisturbed."
    if not any(item.path.name == "test_smoke.py" for item in request.session.items):
        pytest.skip("the undisturbed run is that of test_smoke.py: choose both files")
    rng, longest = random.Random(KILLS), float(os.environ.get("AQUILT_KILL_SECONDS", "60"))
    for _ in range(KILLS):
        process = started(tmp_path, "--jobs", "1", *MAKING)
        time.sleep(rng.uniform(5, longest))
        if process.poll() is not None: break
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finished(tmp_path, "--jobs", "1", *MAKING)
    expected, found = await_digests(common(tmp_path_factory, worker_id)), comparable(tmp_path)
    assert expected, "the undisturbed run of test_smoke.py failed"
    made = {f"run/{stage}/result.json" for stage in [*STAGES, *(cell.name for cell in main_cells(Run(SMOKE, tmp_path / "run")))]}
    assert len(made) > len(STAGES) + 20 and made <= found.keys() and "figures/table_2.md" in found
    assert [path for path in found if found[path] != expected.get(path)] == ["figures/results.json"], "which has fewer stages"
