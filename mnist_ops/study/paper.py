"""A publication that a user's study reruns: its printed numbers and its claims, as data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from mnist_ops.core.errors import InvalidInput
from mnist_ops.study import lookup


@dataclass(frozen=True)
class Better:
    """One setting has a higher test accuracy than another.

    Attributes:
        text: the claim in one line.
        first: axis -> value, of the setting that is better.
        second: of the other one. Configurations are compared that differ in these axes alone.
        by: at least by how many percentage points it is better.
        everywhere: whether in every configuration, rather than on average over them.
    """

    text: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    by: float = 0.0
    everywhere: bool = False

    def __post_init__(self) -> None:
        _check(self)
        if not _is_number(self.by) or self.by < 0:
            raise InvalidInput(f"claim {self.text!r}: by is a number from 0 on, got {self.by!r}")


@dataclass(frozen=True)
class Equal:
    """Two settings differ in test accuracy by less than so much.

    Attributes:
        text: the claim in one line.
        first: axis -> value, of one setting.
        second: of the other one. Configurations are compared that differ in these axes alone.
        within: by less than how many percentage points they differ.
        everywhere: whether in every configuration, rather than on average over them.
    """

    text: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    within: float = 1.0
    everywhere: bool = False

    def __post_init__(self) -> None:
        _check(self)
        if not _is_number(self.within) or self.within <= 0:
            raise InvalidInput(
                f"claim {self.text!r}: within is a number above 0, got {self.within!r}"
            )


OwnClaim: TypeAlias = Better | Equal


@dataclass(frozen=True)
class OwnPaper:
    """What was published on a user's study.

    Attributes:
        title: of the publication.
        preset: the study's preset that has the publication's size; at other sizes its numbers are
            not judged.
        published: CSV file of its printed numbers, from the folder of the study's file: columns
            ``metric``, ``value`` and axes of the study, and ``table`` where that is known. Empty
            for none.
        claims: what it claims.
        source: by whom, in what and when it was published.
        file: the path of `published`.
    """

    title: str
    preset: str
    published: str = ""
    claims: tuple[OwnClaim, ...] = ()
    source: str = ""
    file: Path | None = field(init=False, default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.claims, tuple) or not all(
            isinstance(claim, Better | Equal) for claim in self.claims
        ):
            raise InvalidInput(
                f"paper {self.title!r}: claims is a tuple of Better and Equal, as (Better(...),)"
            )
        if not self.published and not self.claims:
            raise InvalidInput(f"paper {self.title!r} has neither published numbers nor claims")
        if self.published:
            # Only while its file is imported is the folder known.
            object.__setattr__(self, "file", lookup.beside(self.published))


def _check(claim: OwnClaim) -> None:
    for name, side in (("first", claim.first), ("second", claim.second)):
        if not isinstance(side, Mapping) or not side:
            raise InvalidInput(
                f"claim {claim.text!r}: {name} names axes and their values, as "
                f"{{'width': 8}}; got {side!r}"
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
