"""Look into study files from a terminal: ``python -m boatppl show jvm.db``.

Nothing here changes a study, and a study that is being tuned can be looked at.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from boatppl.storage import Storage, StorageError, StudyRecord, open_storage


def list_studies(storage: Storage, record: StudyRecord) -> str:
    """One line: what the study optimises and how far it is."""
    made = f"{record.created:%Y-%m-%d %H:%M} UTC"
    return (
        f"{record.name}: {record.direction} {record.objective}, made {made}, {storage.trials(record.name)!r}"
    )


def show(storage: Storage, record: StudyRecord) -> str:
    """The line of :func:`list_studies` and the trials as a table."""
    frame = storage.trials(record.name).to_dataframe()
    frame = frame.drop(columns=[column for column in ("reason", "marks") if not any(frame[column])])
    with pd.option_context("display.width", 0, "display.max_columns", None, "display.max_rows", None):
        return f"{list_studies(storage, record)}\n{frame.to_string(na_rep='-', float_format='{:.4g}'.format)}"


def export_csv(storage: Storage, record: StudyRecord) -> str:
    """The table of trials as CSV, floats exact."""
    return storage.trials(record.name).to_dataframe().to_csv().rstrip("\n")


def export_json(storage: Storage, record: StudyRecord) -> str:
    """One JSON object per trial and line: all that is known of it, floats exact."""
    return "\n".join(json.dumps(trial.to_record(), allow_nan=False) for trial in storage.trials(record.name))


def check(storage: Storage, record: StudyRecord) -> str:
    """Read everything; damage is an error that names the place."""
    trials, settings = storage.trials(record.name), storage.settings(record.name)
    storage.sessions(record.name)
    return f"{record.name}: {len(trials)} trials and {len(settings)} settings read back as they were written"


COMMANDS = {"list": list_studies, "show": show, "csv": export_csv, "json": export_json, "check": check}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; the exit code is 1, with a sentence, where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m boatppl", description="Look into study files.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        sentence = (command.__doc__ or "").replace(":func:`list_studies`", "list")
        one = commands.add_parser(name, help=sentence, description=sentence)
        one.add_argument("file", type=Path, help="the file that storage= named")
        one.add_argument("--study", help="one study only (all of the file without it)")
    asked = parser.parse_args(arguments)
    try:
        if not asked.file.exists():
            raise StorageError(f"{asked.file} does not exist. Name the file that storage= named.")
        with open_storage(asked.file) as storage:
            records = [record for record in storage.studies() if asked.study in (None, record.name)]
            if asked.study and not records:
                names = ", ".join(record.name for record in storage.studies())
                raise StorageError(
                    f"{asked.file} holds no study {asked.study!r}; it holds {names or 'none'}."
                )
            for record in records:
                print(COMMANDS[asked.command](storage, record))
    except StorageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
