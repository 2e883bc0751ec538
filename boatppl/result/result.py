"""The end of a session, which prints itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import xarray as xr

from boatppl.incumbent import Best
from boatppl.result.findings import Findings, findings
from boatppl.result.html import as_html
from boatppl.result.sentences import nothing_measured, sentences
from boatppl.study import Study
from boatppl.text import ending


@dataclass(frozen=True, eq=False)
class Result:
    """The end of a session of :func:`optimize`; the study goes on from here with ``optimize`` or ask and
    tell."""

    study: Study
    stopped: str

    @cached_property
    def best(self) -> Best:
        """The incumbent: best by the posterior, not by the luckiest measurement."""
        return self.study.best

    @property
    def best_configuration(self) -> Mapping[str, Any]:
        """The incumbent's configuration."""
        return self.best.configuration

    @property
    def best_value(self) -> float:
        """The posterior median of the noise-free objective at the incumbent, in its unit."""
        return self.best.value

    @property
    def best_measured(self) -> float | None:
        """The mean of what was measured at the incumbent."""
        return self.best.measured

    @property
    def trials(self) -> pd.DataFrame:
        """Every trial, one row each."""
        return self.study.trials.to_dataframe()

    @cached_property
    def posterior(self) -> xr.DataTree:
        """The long posterior: a child per node, as ArviZ takes it."""
        return self.study.posterior

    @cached_property
    def findings(self) -> Findings | None:
        """What the study found, by its short posterior; None where nothing was measured."""
        return findings(self.study) if self.study.evidence().objective else None

    def __repr__(self) -> str:
        found = self.findings
        lines = nothing_measured(self.study) if found is None else sentences(found)
        return "\n".join([*lines, ending(self.stopped)])

    def _repr_html_(self) -> str:
        return as_html(self.findings, nothing_measured(self.study), self.stopped)
