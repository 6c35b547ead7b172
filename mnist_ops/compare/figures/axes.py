"""Error bars, and where axes begin and end, so that these, bars and markers are inside."""

import math
from collections.abc import Iterable

import pandas as pd

from mnist_ops.compare.figures.numbers import known


def percent_range(values: Iterable[float], *, zero: bool = False) -> tuple[float, float]:
    """From below the least to above the greatest, 0 to 100 at most.

    With `zero`, as bars need it, from 0 unless all values are so high that nothing would be seen.
    """
    there = known(values) or [0.0, 100.0]
    low, high = min(there), max(there)
    room = max((high - low) * 0.15, 0.5)
    start = 0.0 if zero and low < 50 else max(math.floor(low - room), 0.0)
    return start, min(high + (high - start) * 0.06, 101.0)


def time_range(values: Iterable[float]) -> tuple[float, float]:
    """Exponents of 10 for a logarithmic axis around the values, with room at both ends."""
    there = [value for value in known(values) if value > 0] or [1.0, 10.0]
    return math.floor(math.log10(min(there) / 1.5)), math.log10(max(there)) + 0.2


def with_spread(measured: Iterable[float], std: Iterable[float]) -> list[float]:
    """Return the ends of the error bars, or the values where there are none."""
    ends = []
    for value, deviation in zip(measured, std, strict=True):
        reach = 0.0 if math.isnan(deviation) else deviation
        ends += [value - reach, value + reach]
    return ends


def ends(frame: pd.DataFrame) -> list[float]:
    """Return the ends of the ranges of a frame and its published values."""
    names = [name for name in ("low", "high", "published") if name in frame]
    found = frame[names].to_numpy(dtype="float64").ravel().tolist()
    return [*with_spread(frame["measured"], frame["std"]), *found]


def error_bars(std: Iterable[float], **looks: object) -> dict[str, object]:
    """Error bars of these lengths, none where there is no deviation, as with one seed.

    Args:
        std: of each point; NaN where there is none.
        looks: more of plotly's properties.
    """
    # Plotly draws null as a bar of no length, ends and all, and leaves out what is no number.
    lengths = ["none" if math.isnan(deviation) else deviation for deviation in std]
    return {"type": "data", "array": lengths, **looks}


def percent_title(start: float) -> str:
    """Return the title of an axis of test accuracies; one that does not begin at 0 says so."""
    return "Test accuracy (%)" + (f", axis from {start:g}" if start else "")
