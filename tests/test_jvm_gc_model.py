"""The collector's model: how wide its priors are, and what recorded runs say of its edges."""

import numpy as np
import pymc as pm
import pytest
from scipy.stats import spearmanr

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


def test_priors_span_a_factor_of_ten() -> None:
    own = ("amplitude", "lengthscale", "noise")  # of residuals: not the engineer's
    seen = {}
    for block in jvm_model(space()).blocks:
        for unknown in block.model.free_RVs:
            if unknown.name.rpartition("::")[2] not in own:
                low, high = np.quantile(pm.draw(unknown, 4000, random_seed=1), [0.05, 0.95])
                if unknown.name == "stays":  # a share
                    low, high = low / (1 - low), high / (1 - high)
                seen[unknown.name] = high / low
    assert len(seen) == 9, seen
    assert min(seen.values()) >= 10, seen


class TestWhatTheRecordedRunsSay:
    """The regime that the workload was sized for: true of any table that is worth replaying."""

    RUNS = [run for run in load() if "young_mb" in run.configuration and not run.disturbed and not run.error]

    def column(self, name: str) -> np.ndarray:
        known = [run.configuration.get(name, run.measurements.get(name, np.nan)) for run in self.RUNS]
        return np.array(known, float)

    def test_collections_follow_eden(self) -> None:
        young, ratio, rate = (self.column(name) for name in ("young_mb", "survivor_ratio", "gc_rate"))
        eden, some = young * ratio / (ratio + 2), rate > 0
        explained = np.corrcoef(np.log(rate[some]), np.log(eden[some]))[0, 1] ** 2
        assert explained > 0.8
        malloc = (rate * eden)[some]
        assert np.quantile(malloc, 0.95) > 1.5 * np.quantile(
            malloc, 0.05
        )  # something is left for the residual

    def test_pauses_grow_with_what_is_copied(self) -> None:
        rate, pause = self.column("gc_rate"), self.column("gc_pause")
        some = rate > 0
        copied = self.column("copied_mb_s")[some] / rate[some]
        assert np.corrcoef(copied, pause[some])[0, 1] ** 2 > 0.8

    def test_full_collections_follow_promotion_and_p99_follows_them(self) -> None:
        free = np.maximum(96 - self.column("young_mb") - 14, 1.0)  # 14 MB are always alive
        full, p99 = self.column("full_rate"), self.column("p99")
        some = self.column("gc_rate") > 0  # without a young collection nothing is promoted, and all are full
        assert np.corrcoef(full[some], (self.column("promoted_mb_s") / free)[some])[0, 1] > 0.8
        assert spearmanr(p99, full).statistic > 0.5 + abs(spearmanr(p99, self.column("gc_rate")).statistic)

    def test_zeros_occur(self) -> None:
        assert (self.column("full_rate") == 0).any()
        assert (self.column("gc_rate") == 0).any()
