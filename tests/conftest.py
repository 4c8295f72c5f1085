"""What every test stands on: few threads, no hub, no window, and the folder of reference data where there is one."""
import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch; the same sums on every machine
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    "Real data and official answers: AQUILT_SHARED, or the folder shared/ beside the repository; the test is skipped where neither is there."
    folder = Path(os.environ.get("AQUILT_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}: AQUILT_SHARED names its folder")
    return folder


LONGEST = "test_smoke.py"  # begun first, so that no worker is left alone with it at the end


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name != LONGEST)
