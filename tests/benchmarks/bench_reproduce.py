"""A whole reproduction in an empty run directory: seconds and peak memory. `bench_reproduce.py [PROFILE]`, smoke if not given."""
import os
import resource
import subprocess
import sys
import tempfile
import time

profile = sys.argv[1] if len(sys.argv) > 1 else "smoke"
with tempfile.TemporaryDirectory() as folder:
    began = time.time()
    subprocess.run([sys.executable, "-m", "aquilt", "reproduce", "--profile", profile, "--run-dir", f"{folder}/run"], check=True, env=os.environ | {"AQUILT_FIGURES_DIR": f"{folder}/figures"})
    # the largest single process; a kernel runs one notebook at a time
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{profile}: {time.time() - began:.0f} s, largest process {peak:.2f} GiB, {os.cpu_count()} cores")
