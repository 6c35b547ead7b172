"""Two more ways to an average over configurations, to see whether the way decides the verdict."""

import warnings
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from mnist_ops.compare.findings.contrast import Contrast
from mnist_ops.compare.findings.finding import Estimate
from mnist_ops.compare.statistics import CONFIDENCE, FEWEST_UNITS

# Of the bootstrap.
_RESAMPLES = 2000


def others(contrast: Contrast) -> tuple[Estimate, ...]:
    """Return the estimates of the average effect; logarithms of ratios. None for few units."""
    effects = contrast.effects
    if len(effects) < FEWEST_UNITS or max(effects) - min(effects) <= 1e-9:
        return ()
    found = (cluster_bootstrap(effects), mixed_model(contrast))
    return tuple(each for each in found if each is not None)


def cluster_bootstrap(effects: Sequence[float]) -> Estimate:
    """Resample whole configurations, with all their seeds: `scipy.stats.bootstrap`, BCa."""
    found = stats.bootstrap(
        (np.asarray(effects),),
        np.mean,
        n_resamples=_RESAMPLES,
        confidence_level=CONFIDENCE,
        rng=np.random.default_rng(0),
    ).confidence_interval
    interval = float(found.low), float(found.high)
    return Estimate("cluster bootstrap", fmean(effects), interval, None, len(effects))


def mixed_model(contrast: Contrast) -> Estimate | None:
    """Fit all runs: configurations differ at random, in level and in effect; None if it fails."""
    rows = tuple(
        (value, side, unit)
        for unit, blocks in enumerate(contrast.units)
        for block in blocks
        for side, values in zip((0.5, -0.5), block.values, strict=True)
        for value in values
    )
    return _fitted(rows, len(contrast.units))


# Several claims rest on one contrast.
@lru_cache(maxsize=64)
def _fitted(rows: tuple[tuple[float, float, int], ...], units: int) -> Estimate | None:
    """Fit value, side, unit of each run.

    `statsmodels` ``MixedLM`` by restricted maximum likelihood.
    """
    frame = pd.DataFrame(rows, columns=["value", "side", "unit"])
    # Levels differ far more than effects: without them the fit is well conditioned.
    level = frame.groupby(["unit", "side"])["value"].transform("mean").groupby(frame["unit"])
    design = np.column_stack([np.ones(len(frame)), frame["side"]])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            centred = frame["value"] - level.transform("mean")
            fitted = MixedLM(
                centred, design, groups=frame["unit"], exog_re=frame[["side"]].to_numpy()
            ).fit(method=["lbfgs"])
            effect, error = float(fitted.params.iloc[1]), float(fitted.bse.iloc[1])
        except (ValueError, np.linalg.LinAlgError, ConvergenceWarning):
            return None
    if not np.isfinite(error) or error <= 0:
        return None
    low, high = stats.norm.interval(CONFIDENCE, effect, error)
    p_value = float(2 * stats.norm.sf(abs(effect) / error))
    interval = float(low), float(high)
    return Estimate("mixed model", effect, interval, p_value, units)
