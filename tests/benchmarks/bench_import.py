"""Median time of `import aquilt`, and of each of its modules, in fresh interpreters."""
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def seconds(name: str, repeats: int = 9) -> list[float]:
    "The times of `repeats` imports of `name`; the first one, which may compile and read from disk, is left out."
    runs = [subprocess.run([sys.executable, "-c", PROGRAM.format(name)], cwd=ROOT, check=True, capture_output=True, text=True) for _ in range(repeats + 1)]
    return [float(run.stdout) for run in runs[1:]]


if __name__ == "__main__":
    modules = sorted(path.stem for path in (ROOT / "aquilt").glob("*.py") if not path.stem.startswith("_"))
    print(f"{'import':24} {'median s':>9} {'min s':>7} {'max s':>7}")
    for name in ["aquilt", *(f"aquilt.{module}" for module in modules)]:
        times = seconds(name)
        print(f"{name:24} {statistics.median(times):9.3f} {min(times):7.3f} {max(times):7.3f}")
