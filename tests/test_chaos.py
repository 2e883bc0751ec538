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
    for moment in ("ask", "run", "told"):
        assert moment in moments
    assert int(said.partition("; ")[2].split()[0]) >= 1  # studies that came to their end, and were compared


def test_processes_that_are_killed_share_a_file(tmp_path):
    arguments = ["--processes", 4, "--trials", 10, "--process-kills", 6]
    said = chaos(tmp_path, "--only", "processes", "strings", *arguments, "--strings", 300)
    assert "4 processes, 6 kills, 4" in said  # 40 trials and those that were killed before they were told of


def test_no_objective_stops_a_study(tmp_path):
    said = chaos(tmp_path, "--only", "objectives", "stores", "--offsets", "60", "--times", "1")
    assert "bad objectives: of 27 that stopped a study: 0" in said


@pytest.mark.nightly
def test_the_whole_of_it(tmp_path):
    assert "of 10000 that reached argv changed: 0" in chaos(tmp_path)
