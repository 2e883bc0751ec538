"""``python -m benchmarks``: the promises and what was measured, as a table."""

import argparse
from pathlib import Path

from benchmarks.figures import comma_separated, markdown
from benchmarks.machine import described, load
from benchmarks.promises import FULL, QUICK, measure

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure every promise, print the table, and keep it in ``benchmarks/results``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="more repeats, 200 suggestions, large fits to the end"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder for promises.md and promises.csv"
    )
    options = parser.parse_args()
    about = described()
    figures = []
    for figure in measure(FULL if options.full else QUICK):
        figures.append(figure)
        print(f"{figure.promise}: {figure.what}: {figure.found_text} ({figure.promised_text})", flush=True)
    about["load after"] = load()
    options.results.mkdir(parents=True, exist_ok=True)
    text = markdown(figures, about)
    (options.results / "promises.md").write_text(text)
    (options.results / "promises.csv").write_text(comma_separated(figures, about))
    print(f"\n{text}")


if __name__ == "__main__":
    main()
