"""Look into study files from a terminal: ``python -m boatppl show jvm.db``.

Nothing here changes a study, and a study that is being tuned can be looked at.
"""

import argparse
import importlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from boatppl.dag import DAGModel
from boatppl.storage import Storage, StorageError, StudyRecord, open_storage
from boatppl.study import Study
from boatppl.trial import Trials
from boatppl.words import ModelError


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
    storage.sessions(record.name), storage.outputs(record.name), storage.leases(record.name)
    return f"{record.name}: {len(trials)} trials and {len(settings)} settings read back as they were written"


def output(storage: Storage, record: StudyRecord) -> str:
    """The end of what the program of each trial said."""
    said = storage.outputs(record.name)
    return "\n".join(f"=== {record.name}, trial {number} ===\n{text}" for number, text in said.items())


COMMANDS = {
    "list": list_studies, "show": show, "output": output, "csv": export_csv, "json": export_json,
    "check": check,
}  # fmt: skip
TREES = {
    "netcdf": "Write the study as ArviZ reads it, one NetCDF file: az.from_netcdf(out).",
    "zarr": "Write the study as ArviZ reads it, one Zarr folder: az.from_zarr(out).",
}


# -- as ArviZ reads it


def measurements_tree(trials: Trials) -> xr.DataTree:
    """Return the trials along the dim ``trial``: ``observed_data`` has what was measured (NaN where it was
    not), ``constant_data`` the configurations, contexts, states and seconds."""
    known = list(trials)
    numbers = {"trial": [trial.number for trial in known]}
    measured = dict.fromkeys(name for trial in known for name in trial.measurements)
    given = dict.fromkeys(name for trial in known for name in (*trial.configuration, *trial.context))
    observed = {n: _column(n, [trial.measurements.get(n, np.nan) for trial in known]) for n in measured}
    constant = {n: _column(n, [(t.configuration | t.context).get(n, np.nan) for t in known]) for n in given}
    constant |= {
        name: _column(name, [getattr(trial, name) for trial in known])
        for name in ("state", "origin", "seconds")
        if name not in given
    }
    groups = {"observed_data": xr.Dataset(observed, numbers), "constant_data": xr.Dataset(constant, numbers)}
    return xr.DataTree.from_dict({f"/{group}": dataset for group, dataset in groups.items()})


def _column(name: str, values: Sequence[Any]) -> tuple[tuple[str, ...], np.ndarray]:
    """Values of the trials with their dims: numbers (of one shape) or text."""
    shape = max((np.shape(value) for value in values), key=len, default=())
    if any(isinstance(value, str) for value in values):
        return ("trial",), np.array([str(value) for value in values])
    whole = [
        np.asarray(value, float) if np.shape(value) == shape else np.full(shape, np.nan)
        for value in (np.nan if value is None else value for value in values)
    ]
    return ("trial", *(f"{name}_dim_{axis}" for axis in range(len(shape)))), np.array(whole, float)


def posterior_tree(storage: Storage, record: StudyRecord, named: str) -> xr.DataTree:
    """Return the long posterior of a study given the model ``package.module:name``: a child per node."""
    module, _, name = named.partition(":")
    try:
        model = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(
            f"--model is where a DAGModel is, such as models.jvm_gc.model:model; {error}."
        ) from error
    model = model() if callable(model) else model
    if not isinstance(model, DAGModel):
        raise ModelError(f"--model {named} is {type(model).__name__}; expected a boat.DAGModel.")
    goal: dict[str, Any] = {record.direction: record.objective}
    study = Study(model, **goal)
    for trial in storage.trials(record.name):
        study.storage.append(study.name, trial)
    study.log.read()
    return study.posterior


def write_tree(storage: Storage, record: StudyRecord, asked: argparse.Namespace) -> str:
    """Write one study's tree into a new file or folder; give a sentence."""
    try:
        tree = _tree(storage, record, asked)
    except (StorageError, ModelError, ImportError):
        raise
    except Exception as error:  # xarray, NetCDF and Zarr do not take every name that a run gives
        raise StorageError(
            f"{asked.out} cannot be written ({type(error).__name__}: {error}). `csv` and `json` take any."
        ) from error
    return f"{record.name}: {asked.out} has the groups {', '.join(tree.groups[1:])}"


def _tree(storage: Storage, record: StudyRecord, asked: argparse.Namespace) -> xr.DataTree:
    """Return one study's tree, as it is written now."""
    if asked.model is None:
        tree = measurements_tree(storage.trials(record.name))
    else:
        tree = posterior_tree(storage, record, asked.model)
    tree.attrs |= {"study": record.name, record.direction: record.objective, "inference_library": "boatppl"}
    draft = asked.out.with_name(f".{asked.out.name}.new")
    try:
        if asked.command == "netcdf":
            tree.to_netcdf(draft)
        else:
            tree.to_zarr(draft, zarr_format=2)
        draft.rename(asked.out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        draft.unlink(missing_ok=True)
    return tree


# -- the command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; the exit code is 1, with a sentence, where it cannot be done."""
    asked = _parser().parse_args(arguments)
    try:
        if not asked.file.exists():
            raise StorageError(f"{asked.file} does not exist. Name the file that storage= named.")
        with open_storage(asked.file, read_only=True) as storage:
            for record in _records(storage, asked):
                if asked.command in TREES:
                    print(write_tree(storage, record, asked))
                else:
                    print(COMMANDS[asked.command](storage, record))
            sys.stdout.flush()
    except (StorageError, ModelError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _records(storage: Storage, asked: argparse.Namespace) -> list[StudyRecord]:
    """The studies that are asked for."""
    every = storage.studies()
    names = ", ".join(record.name for record in every)
    records = [record for record in every if asked.study in (None, record.name)]
    if asked.study and not records:
        raise StorageError(f"{asked.file} holds no study {asked.study!r}; it holds {names or 'none'}.")
    if asked.command in TREES:
        if len(records) != 1:
            raise StorageError(f"{asked.file} holds {names or 'no study'}; say which one with --study.")
        if not asked.out.parent.is_dir():
            raise StorageError(f"the folder {asked.out.parent} does not exist. Make it first.")
        if asked.out.exists():
            raise StorageError(f"{asked.out} is there already. Choose another name, or remove it first.")
    return records


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m boatppl", description="Look into study files.")
    commands = parser.add_subparsers(dest="command", required=True)
    said = {
        name: (command.__doc__ or "").replace(":func:`list_studies`", "list")
        for name, command in COMMANDS.items()
    }
    for name, sentence in {**said, **TREES}.items():
        one = commands.add_parser(name, help=sentence, description=sentence)
        one.add_argument("file", type=Path, help="the file that storage= named")
        if name in TREES:
            one.add_argument("out", type=Path, help="what is to be written; it must not be there yet")
            one.add_argument(
                "--model", help="package.module:name of the study's DAGModel: its posterior, too"
            )
        one.add_argument("--study", help="one study only (all of the file without it)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
