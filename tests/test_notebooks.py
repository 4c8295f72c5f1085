"""The notebooks that a reproduction leaves out, by nbdev; all others run their checks in the smoke run (test_smoke.py)."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aquilt.runner.reproduce import find_notebooks

NBS = Path(__file__).parents[1] / "nbs"
LEFT_OUT = sorted({p for p in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts} - set(find_notebooks(NBS)))


@pytest.mark.parametrize("page", LEFT_OUT, ids=lambda page: page.stem)
def test_a_page_outside_the_reproduction_passes_its_own_checks(page, tmp_path):
    command = [str(Path(sys.executable).with_name("nbdev_test")), "--path", str(page), "--n_workers", "1", "--do_print"]
    # the pages draw by Jupyter's own means, and not into the tree
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | {"AQUILT_FIGURES_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=NBS.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-5000:]


def test_these_are_two():
    assert [page.stem for page in LEFT_OUT] == ["index", "99_reproduce"]
