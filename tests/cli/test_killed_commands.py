"""A short version of `python tests/kill_trials.py --runs 100`."""

import os
import subprocess
import sys

import pytest
from paths import PROJECT


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
def test_killed_commands_leave_the_old_output_or_the_new_one():
    # In a process of its own, since this one has threads, which a fork would not have.
    script = PROJECT / "tests" / "kill_trials.py"
    command = [sys.executable, "-W", "ignore", str(script), "--runs", "3"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert ran.returncode == 0, ran.stderr
    assert "6 trials, no output lost, nothing hidden left" in ran.stdout
