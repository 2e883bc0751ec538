"""What `benchmarks/chaos.py` counts, with smaller numbers; in a process of its own, since it forks."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def chaos(tmp_path, *arguments):
    """The lines that it prints; it must end well, and every promise be kept."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.chaos", *arguments, "--results", tmp_path]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    table = (tmp_path / "chaos.md").read_text()
    assert " no " not in "".join(line for line in table.splitlines() if line.startswith("|"))
    return done.stdout


def test_50_kills_lose_nothing_and_change_no_suggestion(tmp_path):
    said = chaos(tmp_path, "--only", "kills", "--kills", "50")
    assert "kill -9: acknowledged trials lost of" in said
    moments = said.partition("killed at: ")[2].partition(";")[0]
    assert all(moment in moments for moment in ("ask", "run", "tell"))
    assert int(said.partition("; ")[2].split()[0]) >= 1  # studies that came to their end, and were compared


def test_shared_files_damaged_files_bad_objectives_and_hostile_strings(tmp_path):
    less = ["--processes", 4, "--trials", 8, "--process-kills", 5, "--offsets", 60, "--times", 1]
    parts = ["processes", "strings", "objectives", "stores"]
    said = chaos(tmp_path, "--only", *parts, *less, "--strings", 300)
    assert "4 processes, 5 kills, 3" in said  # 32 trials, and those that were killed before they were told of
    assert "bad objectives: of 27 that stopped a study: 0" in said
    assert "of 300 that reached argv changed: 0" in said


@pytest.mark.nightly
def test_the_whole_of_it(tmp_path):
    assert "of 10000 that reached argv changed: 0" in chaos(tmp_path)
