"""Every notebook's own checks, by nbdev in one process: the pages hand over files, so they run in their order."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_page_passes_its_own_checks(tmp_path):
    command = [str(Path(sys.executable).with_name("nbdev_test")), "--n_workers", "1", "--do_print"]
    # the pages draw by Jupyter's own means, and not into the tree
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | {"AQUILT_FIGURES_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
