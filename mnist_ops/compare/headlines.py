"""Answers to a paper's questions, a line each, with their intervals."""

from dataclasses import dataclass

from mnist_ops.compare.render import minus
from mnist_ops.compare.statistics import Interval


@dataclass(frozen=True)
class Headline:
    """A question of the paper, and what these runs answer."""

    question: str
    answer: str


def with_interval(
    value: float, interval: Interval | None, unit: str, sign: str = "", decimals: int = 2
) -> str:
    """Return a number with its unit and, where there is one, its interval behind it."""
    low, high = (minus(f"{end:z.{decimals}f}") for end in interval) if interval else ("", "")
    return minus(f"{value:{sign}z.{decimals}f}{unit}") + (f" ({low} to {high})" if interval else "")
