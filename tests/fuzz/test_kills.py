"""Runs saved over one another by processes that are killed."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.harness import INPUTS

MANY = 1000
"""Inputs from which on every step is tried, and 200 moments at random besides."""


def test_a_killed_save_leaves_one_of_the_two_runs():
    words = ["1", "200"] if INPUTS >= MANY else ["13", "6"]
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    script = Path(__file__).parents[1] / "verbs" / "kills.py"
    try:
        done = subprocess.run(
            [sys.executable, script, folder, *words], capture_output=True, text=True
        )
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    kills = int(done.stdout.splitlines()[-1].split()[0])
    assert kills >= (200 if INPUTS >= MANY else 15)
