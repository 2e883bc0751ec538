"""What `benchmarks/chaos.py` counts, with smaller numbers; in a process of its own, since it forks."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def chaos(tmp_path, *arguments):
    """What it prints; it must end well, which it does where every promise was kept."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.chaos", *arguments, "--results", tmp_path]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


def test_50_kills_lose_nothing_and_change_no_suggestion(tmp_path):
    said = chaos(tmp_path, "--only", "kills", "--kills", "50")
    assert "in 50 kills" in said
    assert all(f"'at {moment}'" in said for moment in ("ask", "run", "tell"))
    assert "'studies'" in said  # that came to their end, and were compared


def test_shared_files_damaged_files_bad_objectives_and_hostile_strings(tmp_path):
    less = ["--processes", 4, "--trials", 6, "--process-kills", 3, "--offsets", 30, "--times", 1]
    parts = ["processes", "strings", "objectives", "stores"]
    said = chaos(tmp_path, "--only", *parts, *less, "--strings", 150)
    assert "by 4 processes in 3 kills" in said
    assert "of 50 bad objectives" in said
    again = chaos(tmp_path, "--only", "strings", "--strings", 50, "--seed", 1)
    assert "of 200 hostile texts" in again  # runs add up
    assert "of 50 bad objectives" in again


@pytest.mark.nightly
def test_the_whole_of_it(tmp_path):
    assert "of 10000 hostile texts" in chaos(tmp_path)
