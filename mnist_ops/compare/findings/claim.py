"""A claim before it meets the runs: what is said, by whom, on what evidence, and its test."""

from collections.abc import Callable
from dataclasses import dataclass

from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.outcome import Outcome


@dataclass(frozen=True)
class Claim:
    """A claim and its test.

    Attributes:
        id: as in `Finding`.
        text: the claim in one line.
        published: the paper's own evidence in its printed numbers.
        hypothesis: the test; its docstring says when the claim is supported and when refuted.
            Claims that say the same thing share one, which is then one test among all.
    """

    id: str
    text: str
    published: Callable[[], str]
    hypothesis: Callable[[Evidence], Outcome]


@dataclass(frozen=True)
class Section:
    """A part of a paper and what it claims, in its order."""

    title: str
    claims: tuple[Claim, ...]
