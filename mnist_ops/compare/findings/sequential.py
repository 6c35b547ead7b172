"""Plans of further seeds, whose runs are judged after every round.

Looking at the runs several times and stopping at the verdict that one hopes for is wrong more often
than each look alone. So the 5% of a claim are shared out among all looks, and the p-value of a look
is divided by its share. The chance of a wrong verdict in any of them is then at most 5%, however
the looks depend on each other (Bonferroni). They depend on each other in a way that the boundaries
of Pocock or of O'Brien and Fleming do not describe: seeds draw overlapping splits, so that the
standard error has a part that no seed reduces. As with O'Brien and Fleming the early looks get
little, so that the last one loses little.

A claim's first plan may spend half of the 5%, the next one half of what is left, and so on. Where
nothing could be tested, as no deviation between seeds was known, the seeds that make it known come
before the first plan: the look after them is the first at all.
"""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from mnist_ops.compare.runs import START_TIME, UNTIL_DECIDED, records
from mnist_ops.compare.statistics import ALPHA

# The share of each round's look in what its plan may spend, by the number of rounds.
_SHARES = {1: (1.0,), 2: (0.2, 0.8), 3: (0.1, 0.2, 0.7)}
# Fewer seeds of a configuration are no round of their own.
_FEWEST = 2
# The number of the seeds before the first plan. Plans beyond the last have nothing left to spend.
FIRST_SEEDS = 0
_MOST_PLANS = 20


@dataclass(frozen=True, order=True)
class Look:
    """A look at the runs of a claim.

    Attributes:
        plan: 1 for the claim's first plan, or `FIRST_SEEDS`.
        round: of the plan, after which it is; 1 is the first.
        rounds: how many the plan has.
    """

    plan: int
    round: int
    rounds: int

    @property
    def factor(self) -> float:
        """Return what the p-value of the look is multiplied by."""
        if self.plan == FIRST_SEEDS:
            return 1.0
        return 2**self.plan / _SHARES[self.rounds][self.round - 1]

    @property
    def is_valid(self) -> bool:
        """Return whether there can be such a look."""
        return (
            0 <= self.plan <= _MOST_PLANS
            and self.rounds in _SHARES
            and 1 <= self.round <= self.rounds
        )

    @property
    def of_plan(self) -> "list[Look]":
        """Return all looks of its plan."""
        return [Look(self.plan, n, self.rounds) for n in range(1, self.rounds + 1)]


def level(plan: int, tests: int) -> float:
    """Return the level of a claim's test at the last look of its plan, one test among `tests`."""
    most = max(_SHARES)
    return ALPHA / Look(plan, most, most).factor / max(tests, 1)


def tag(looks: Mapping[str, Look]) -> str:
    """Return the value of the tag of runs which these claims asked for, at these looks."""
    return json.dumps(
        {claim: [look.plan, look.round, look.rounds] for claim, look in sorted(looks.items())}
    )


def latest(runs: pd.DataFrame) -> dict[str, Look]:
    """Return the latest look of each claim that asked for some of the runs."""
    found: dict[str, Look] = {}
    for looks, _ in _tagged(runs):
        for claim, look in looks.items():
            found[claim] = max(look, found.get(claim, look))
    return found


def began(runs: pd.DataFrame, claim: str, plan: int) -> pd.Timestamp | None:
    """Return when the first of the runs began that a claim's plan asked for; None without any."""
    starts = (
        start for looks, start in _tagged(runs) if claim in looks and looks[claim].plan == plan
    )
    return min(starts, default=None)


def number_of_rounds(seeds: int) -> int:
    """Return the rounds of a plan that gives a configuration at most so many seeds."""
    return min(max(_SHARES), max(1, -(-seeds // _FEWEST)))


def split(seeds: Sequence[int], rounds: int) -> list[Sequence[int]]:
    """Return the seeds of each round, in order; earlier rounds have at least as many."""
    ends = [math.ceil(len(seeds) * n / rounds) for n in range(rounds + 1)]
    return [seeds[first:end] for first, end in itertools.pairwise(ends)]


def described(look: Look) -> str:
    """Return how the p-value of a look is corrected, in a sentence."""
    if look.plan == FIRST_SEEDS:
        return "Seeds were added to learn how much seeds differ, before any test."
    return (
        f"Seeds were added by a plan: after round {look.round} of {look.rounds} of the claim's "
        f"plan {look.plan} the p-value is multiplied by {look.factor:.3g}."
    )


def _tagged(runs: pd.DataFrame) -> Iterable[tuple[dict[str, Look], pd.Timestamp]]:
    """Yield the looks that runs are tagged with, and when these began; skip unreadable tags."""
    if UNTIL_DECIDED not in runs:
        return
    for row in records(runs[runs[UNTIL_DECIDED].notna()][[UNTIL_DECIDED, START_TIME]]):
        try:
            given = json.loads(row[UNTIL_DECIDED])
            looks = {str(claim): Look(*map(int, numbers)) for claim, numbers in given.items()}
        except (ValueError, TypeError, AttributeError, RecursionError):
            continue
        yield {claim: look for claim, look in looks.items() if look.is_valid}, row[START_TIME]
