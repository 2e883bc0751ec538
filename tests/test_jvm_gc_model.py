"""The collector's model on the real runs that are hardest for it."""

import numpy as np
import pytest

import boatppl as boat
from models.jvm_gc.model import jvm_model
from models.jvm_gc.replay import load
from models.jvm_gc.spaces import space

SIZES = ("young_mb", "survivor_ratio", "tenuring")


@pytest.mark.parametrize("node", ["promoted_mb_s", "full_rate"])
def test_a_run_without_a_young_collection_leaves_a_slope_for_nuts(node: str) -> None:
    """At 80 of 96 MB every collection is a full one: gc_rate and promoted_mb_s are measured as 0."""
    runs = {tuple(run.configuration.get(name) for name in SIZES): run for run in load()}
    study = boat.Study(jvm_model(space()), minimize="p99")
    for sizes in ((32, 8, 15), (80, 1, 7)):
        study.tell(dict(zip(SIZES, sizes, strict=True)), dict(runs[sizes].measurements))
    assert study.trials[-1].measurements["gc_rate"] == 0.0
    twin = study.model[node].to_pymc(study.trials)
    slope = twin.compile_dlogp(mode="FAST_COMPILE")(twin.initial_point())
    assert np.isfinite(slope).all()
