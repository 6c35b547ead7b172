"""Records of finished runs, independent of a store, and their lines of JSON.

A record normalises its values; a line that is not in normal form is refused.
"""

import json
import math
import posixpath
import sys
from functools import cached_property
from hashlib import sha256
from typing import Annotated, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from mnist_ops.core import keys
from mnist_ops.core.escaping import portable_text
from mnist_ops.study import validity

# Limits far beyond any real run, small enough for memory.
MAX_ENTRIES = 1000
MAX_POINTS = 100_000
# Limits of MLflow stores, in characters.
_MAX_NAME = 250
_MAX_SOURCE = 65_535
_MAX_STEP = 2**53

# Tags of MLflow that describe the run itself; its other tags belong to a store.
_MLFLOW_TAGS = frozenset(
    f"mlflow.{name}"
    for name in ("note.content", "source.git.commit", "source.name", "source.type", "user")
)


def _text(limit: int) -> AfterValidator:
    """Return a validator that removes secrets and control characters, and cuts at `limit`."""

    def check(text: str) -> str:
        text = portable_text(text, limit)
        if len(text) == limit and portable_text(text, limit) != text:
            raise ValueError("a secret may be left in a text that is cut")
        return text

    return AfterValidator(check)


def _check_name(name: str) -> str:
    # As in MLflow: a name is a path below a run, and must be normalised.
    if posixpath.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
        raise ValueError("a name is not allowed")
    return name


def _portable_tags(tags: object) -> object:
    """Return the tags that describe the run itself, without those of its store."""
    if not isinstance(tags, dict):
        return tags
    return {
        name: text
        for name, text in tags.items()
        if name in _MLFLOW_TAGS or not (name.startswith("mlflow.") or name in keys.OF_THE_STORE)
    }


def _storable(value: object) -> object:
    """Return the value of a metric as stores keep it; None for NaN."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else math.copysign(sys.float_info.max, value)


Fingerprint = Annotated[str, Field(min_length=1), _text(_MAX_NAME)]
ParamText = Annotated[str, _text(validity.MAX_PARAM)]
_Time = Annotated[int, Field(ge=0, le=validity.MAX_TIME)]
_Name = Annotated[
    str, Field(max_length=_MAX_NAME, pattern=r"^[/\w.\- :]+$"), AfterValidator(_check_name)
]


class Point(NamedTuple):
    """One value of a metric; None stands for NaN, the largest finite numbers for infinities."""

    step: Annotated[int, Field(ge=-_MAX_STEP, le=_MAX_STEP)]
    timestamp: _Time
    value: Annotated[
        Annotated[float, Field(allow_inf_nan=False)] | None, BeforeValidator(_storable)
    ]


def _sorted_points(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Sort points by step, time and value, None last; remove duplicates, as stores do."""
    return tuple(
        sorted(dict.fromkeys(points), key=lambda p: (p[0], p[1], p[2] is None, p[2] or 0.0))
    )


@dataclass(frozen=True, order=True, config=ConfigDict(strict=True, extra="forbid"))
class DatasetUse:
    """A data set in MLflow's form, and its use in the run.

    Attributes:
        name: of the data set.
        digest: of its content.
        source_type: kind of `source`.
        source: origin of the data.
        context: use of the data, such as ``training``.
    """

    name: Annotated[str, _text(500)]
    digest: Annotated[str, _text(36)]
    source_type: Annotated[str, _text(36)]
    source: Annotated[str, _text(_MAX_SOURCE)]
    context: Annotated[str, _text(500)]


_Entries = Field(max_length=MAX_ENTRIES)
_Points = Annotated[
    tuple[Point, ...],
    Field(min_length=1, max_length=MAX_POINTS),
    AfterValidator(_sorted_points),
]


class Line(BaseModel):
    """Content of an export that is one line of JSON, the same bytes for the same content."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        """Return the line: keys sorted, no spaces, UTF-8."""
        text = json.dumps(
            self.model_dump(),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
        return text.encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        """Return the content of a line that `to_json` wrote.

        Raises:
            ValueError: the line differs from what `to_json` writes.
        """
        try:
            content = cls.model_validate_json(line)
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None
        if content.to_json() != line:
            raise ValueError("a line is not in the form that this program writes")
        return content


class RunRecord(Line):
    """A finished run of a cell.

    Attributes:
        fingerprint: of the cell.
        name: of the run.
        start_time: milliseconds since 1970, UTC.
        end_time: likewise.
        params: name -> text.
        tags: name -> text, without those of the store.
        metrics: name -> its points, sorted.
        datasets: what the run used, sorted.
        test_set: `images_id` of the images that it predicted; None without predictions.

    Raises:
        ValidationError: a value is not allowed; see `first_problem`.
    """

    fingerprint: Fingerprint
    name: Annotated[str, _text(_MAX_NAME)]
    start_time: _Time
    end_time: _Time
    params: Annotated[dict[_Name, ParamText], _Entries]
    tags: Annotated[
        dict[_Name, Annotated[str, _text(validity.MAX_TAG)]],
        _Entries,
        BeforeValidator(_portable_tags),
    ]
    metrics: Annotated[dict[_Name, _Points], _Entries]
    datasets: Annotated[
        tuple[DatasetUse, ...], _Entries, AfterValidator(lambda uses: tuple(sorted(set(uses))))
    ]
    test_set: Annotated[str, Field(pattern="^[0-9a-f]{16}$")] | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.start_time > self.end_time:
            raise ValueError("a run ends before its start")
        if self.tags.get(keys.FINGERPRINT) != self.fingerprint or not self.tags.get(keys.STUDY):
            raise ValueError("its tags do not name its fingerprint and study")
        try:
            # A run of another version may be valid; the reader decides.
            _ = self.unknown
        except ValueError as error:
            raise ValueError(f"run {self.name}: {error}") from None
        return self

    @cached_property
    def unknown(self) -> str:
        """Reason why this version cannot read the run's spec; empty if it can."""
        last = {name: points[-1].value for name, points in self.metrics.items()}
        numbers = {name: math.nan if value is None else value for name, value in last.items()}
        try:
            spec = validity.check_cell(self.tags, self.params, numbers, finished=True)
        except validity.OtherVersion as error:
            return str(error)
        if spec is None:
            raise ValueError("its fingerprint matches neither a spec nor its params")
        return ""

    @property
    def study(self) -> str:
        """Name of the cell's study."""
        return self.tags[keys.STUDY]


def first_problem(error: ValidationError) -> str:
    """Return the first problem that pydantic found, on one line."""
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, problem["loc"]))
    message = problem["msg"].removeprefix("Value error, ")
    return f"{validity.shown(where)}: {message}" if where else message


def images_id(label: NDArray[np.uint8], index: NDArray[np.int32]) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of both arrays of a test set, little-endian."""
    content = label.tobytes() + index.astype("<i4").tobytes()
    return sha256(content).hexdigest()[:16]
