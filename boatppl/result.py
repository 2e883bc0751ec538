"""What a study found, as a person wants to read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import xarray as xr

from boatppl.incumbent import Best
from boatppl.study import Study


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

    def __repr__(self) -> str:
        study = self.study
        unit = getattr(study.model.parts[study.goal.name], "unit", None)
        return "\n".join(
            [*self.best.sentences(study.goal.name, unit), *study.unused(), f"stopped: {self.stopped}"]
        )
