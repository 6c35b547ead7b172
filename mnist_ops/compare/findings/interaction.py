"""Interactions: find the setting that an effect depends on, and say where it holds."""

import itertools
from collections.abc import Sequence
from typing import Any

from mnist_ops.compare import statistics
from mnist_ops.compare.findings.contrast import Block, Contrast, as_ratio, mean_test
from mnist_ops.compare.statistics import ALPHA, Comparison
from mnist_ops.core import keys

# Blocks at each value of a setting, from which on it is looked at.
_FEWEST = 3


def interaction(contrast: Contrast) -> str:
    """Describe the setting that the effect depends on most; empty where none is shown to.

    For every setting with two values, the effects at one are matched with those at the other (a
    paired t test, Bonferroni-adjusted over the settings).
    """
    shared = [block.shared for block in contrast.blocks]
    names = dict.fromkeys(name for params in shared for name in params)
    found = []
    tried = 0
    for name in names:
        levels = list(dict.fromkeys(params.get(name) for params in shared))
        if None in levels or len(levels) < 2:
            continue
        for first, second in itertools.combinations(levels, 2):
            pairs = matched(contrast.blocks, name, first, second)
            if len(pairs) < _FEWEST:
                continue
            tried += 1
            test = statistics.paired([a.effect - b.effect for a, b in pairs])
            if test.p_value is not None:
                found.append((test.p_value, name, first, second))
    if not found:
        return ""
    p_value, name, first, second = min(found, key=lambda each: each[0])
    if p_value >= ALPHA:
        return ""
    parts = [_part(contrast.where(**{name: value}), name, value) for value in (first, second)]
    adjusted = min(1.0, p_value * tried)
    depends = "depends" if adjusted < ALPHA else "may depend"
    return (
        f"It {depends} on {name} (p = {p_value:.2g}, {adjusted:.2g} adjusted over {tried} "
        f"settings): {'; '.join(parts)}."
    )


def matched(
    blocks: Sequence[Block], name: str, first: Any, second: Any
) -> list[tuple[Block, Block]]:
    """Match the blocks that share `first` of the param `name` with those that share `second`."""
    by_rest: dict[tuple[Any, ...], dict[Any, Block]] = {}
    for block in blocks:
        params = [side[0].identifying for side in (block.first, block.second)]
        rest = tuple(
            (each, *(str(of_side.get(each)) for of_side in params))
            for each in dict.fromkeys([*params[0], *params[1]])
            if each not in (name, keys.SEED, keys.MOMENTUM)
        )
        by_rest.setdefault(rest, {})[block.shared.get(name)] = block
    return [(v[first], v[second]) for v in by_rest.values() if first in v and second in v]


def _part(contrast: Contrast, name: str, value: Any) -> str:
    effects = [block.effect for block in contrast.blocks]
    above = sum(effect > 0 for effect in effects)
    test = mean_test(contrast)
    return f"{name}={value}: above in {above} of {len(effects)}, {_numbers(test, contrast)}"


def _numbers(test: Comparison, contrast: Contrast) -> str:
    ends = [test.effect, *(test.interval or ())]
    if contrast.is_ratio:
        ends = [as_ratio(end) for end in ends]
    interval = f" ({ends[1]:z.2f} to {ends[2]:z.2f})" if len(ends) > 1 else ""
    return f"mean {ends[0]:z.2f}{interval}"
