"""One finished run without anything of the store that it comes from, and its line of JSON."""

import contextlib
import json
import math
import posixpath
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_ops.core import keys
from mnist_ops.core.redaction import redacted
from mnist_ops.study import validity
from mnist_ops.study.specs import N_CLASSES

# What MLflow stores take, in characters.
MAX_NAME = 250
MAX_PARAM = 6000
MAX_TAG = 8000
MAX_SOURCE = 65_535
# Far beyond any run of ours, and little enough to be held in memory.
MAX_ENTRIES = 1000
MAX_POINTS = 100_000
MAX_INDEX = 1_000_000
# Milliseconds since 1970, up to the year 2200.
MAX_TIME = 7_258_118_400_000
MAX_STEP = 2**53

# Tags of MLflow's own that say something of the run itself; all others belong to a store.
_MLFLOW_TAGS = frozenset(
    f"mlflow.{name}"
    for name in ("note.content", "source.git.commit", "source.name", "source.type", "user")
)
_NAME = re.compile(r"[/\w.\- :]+")
# Control characters but newline and tab, halves of surrogate pairs, and the marks that make a text
# read in another direction.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class Point(NamedTuple):
    """One value of a metric: NaN is a value, infinities are the largest finite numbers."""

    step: int
    timestamp: int
    value: float


@dataclass(frozen=True)
class DatasetUse:
    """A data set as MLflow knows it, and what the run used it for.

    Attributes:
        name: of the data set.
        digest: of its content.
        source_type: how `source` is to be read.
        source: where it came from.
        context: what it was used for, as ``training``.
    """

    name: str
    digest: str
    source_type: str
    source: str
    context: str


@dataclass(frozen=True, eq=False)
class TestSet:
    """The images that predictions are of, shared by all runs of one data set, seed and limit.

    Attributes:
        label: uint8, shape (n_test,): the true classes.
        index: int32, shape (n_test,): which of the pooled images each is.

    Raises:
        ValueError: they are not that.
    """

    # Its name is the field's, not a test's.
    __test__ = False

    label: NDArray[np.uint8]
    index: NDArray[np.int32]

    def __post_init__(self) -> None:
        _require(
            self.label.dtype == np.uint8 and self.index.dtype == np.int32,
            "labels are uint8, indices int32",
        )
        _require(
            self.label.ndim == 1 and self.label.shape == self.index.shape and len(self.label) > 0,
            "labels and indices have one length",
        )
        _require(int(self.label.max()) < N_CLASSES, f"labels are below {N_CLASSES}")
        _require(
            int(self.index.min()) >= 0 and int(self.index.max()) < MAX_INDEX,
            "indices are those of images",
        )

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of both arrays, little-endian."""
        content = self.label.tobytes() + self.index.astype("<i4").tobytes()
        return sha256(content).hexdigest()[:16]


@dataclass(frozen=True)
class RunRecord:
    """A finished run of a cell.

    Attributes:
        fingerprint: of the cell.
        name: of the run.
        start_time: milliseconds since 1970, UTC.
        end_time: likewise.
        params: name -> text.
        tags: name -> text; those of `portable_tag` alone.
        metrics: name -> its points, sorted.
        datasets: what the run used, sorted.
        test_set: `TestSet.id` of the images that it predicted; None without predictions.

    Raises:
        ValueError: a value is not allowed; the message names it.
    """

    fingerprint: str
    name: str
    start_time: int
    end_time: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, Sequence[Point]]
    datasets: Sequence[DatasetUse]
    test_set: str | None

    def __post_init__(self) -> None:
        _text("fingerprint", self.fingerprint, MAX_NAME)
        _text("name", self.name, MAX_NAME)
        for what, time in (("start_time", self.start_time), ("end_time", self.end_time)):
            _whole(what, time, 0, MAX_TIME)
        _require(self.start_time <= self.end_time, "a run ends after its start")
        _require(bool(self.fingerprint), "the fingerprint is not empty")
        _entries("param", self.params, lambda what, text: _text(what, text, MAX_PARAM))
        _entries("tag", self.tags, lambda what, text: _text(what, text, MAX_TAG))
        for name in self.tags:
            _require(portable_tag(name), f"tag {name!r} belongs to a store")
        _require(
            self.tags.get(keys.FINGERPRINT) == self.fingerprint, "its tags name the fingerprint"
        )
        _require(bool(self.tags.get(keys.STUDY)), "its tags name the study")
        _entries("metric", self.metrics, _points)
        # One of another version may be good: whoever reads it decides.
        with contextlib.suppress(validity.OtherVersion):
            self._check_cell()
        _require(len(self.datasets) <= MAX_ENTRIES, "too many data sets")
        for use in self.datasets:
            for field, limit in _DATASET_LIMITS.items():
                _text(f"data set {field}", getattr(use, field), limit)
        _require(list(self.datasets) == sorted(self.datasets, key=dataset_order), "sorted")
        if self.test_set is not None:
            _require(re.fullmatch("[0-9a-f]{16}", self.test_set) is not None, "test_set is an id")

    def _check_cell(self) -> None:
        """Have nothing count for another cell than the one that it is of."""
        last = {name: course[-1].value for name, course in self.metrics.items()}
        try:
            spec = validity.check_cell(self.tags, self.params, last, finished=True)
        except validity.OtherVersion:
            raise
        except ValueError as error:
            raise ValueError(f"run {self.name}: {error}") from None
        _require(
            spec is not None, f"run {self.name}: its fingerprint fits neither a spec nor its params"
        )

    @property
    def unknown(self) -> str:
        """Return why this version cannot tell which cell the run is of; empty where it can."""
        try:
            self._check_cell()
        except validity.OtherVersion as error:
            return str(error)
        return ""

    @property
    def study(self) -> str:
        """The study that the cell belongs to."""
        return self.tags[keys.STUDY]

    def to_json(self) -> bytes:
        """The record as one line: keys sorted, no spaces, NaN as null."""
        fields = {
            "fingerprint": self.fingerprint,
            "name": self.name,
            "start_time": self.start_time,
            "end_time": self.end_time,
            "params": dict(self.params),
            "tags": dict(self.tags),
            "metrics": {
                name: [[p.step, p.timestamp, None if math.isnan(p.value) else p.value] for p in ps]
                for name, ps in self.metrics.items()
            },
            "datasets": [
                {field: getattr(use, field) for field in _DATASET_LIMITS} for use in self.datasets
            ],
            "test_set": self.test_set,
        }
        return to_line(fields)

    @classmethod
    def from_json(cls, line: bytes) -> "RunRecord":
        """The record of a line that `to_json` wrote.

        Raises:
            ValueError: it is no such line, to the byte.
        """
        fields = json.loads(line)
        _require(isinstance(fields, dict) and fields.keys() == _FIELDS, "a run has other fields")
        _require(isinstance(fields["metrics"], dict), "metrics are an object")
        _require(isinstance(fields["datasets"], list), "data sets are a list")
        fields["metrics"] = {
            name: tuple(_point(point) for point in _listed(points))
            for name, points in fields["metrics"].items()
        }
        fields["datasets"] = tuple(_dataset(use) for use in fields["datasets"])
        record = cls(**fields)
        # One way to write a run: whatever the reader above was lenient about is refused here.
        _require(record.to_json() == line, "a run is not written as this program writes it")
        return record


_FIELDS = frozenset(RunRecord.__dataclass_fields__)
_DATASET_LIMITS = {
    "name": 500,
    "digest": 36,
    "source_type": 36,
    "source": MAX_SOURCE,
    "context": 500,
}


def to_line(fields: Mapping[str, Any]) -> bytes:
    """JSON in one line, the same bytes for the same content."""
    text = json.dumps(
        fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode() + b"\n"


def portable_tag(name: str) -> bool:
    """Whether the tag called `name` is of the run, and not of the store that it is in."""
    if name.startswith("mlflow."):
        return name in _MLFLOW_TAGS
    return name not in keys.OF_THE_STORE


def portable_text(text: str, limit: int) -> str:
    """`text` without secrets and without characters that steer a terminal, at most `limit` long."""
    return _HARMFUL.sub("\ufffd", redacted(text))[:limit]


def portable_value(value: float) -> float:
    """`value` as every store keeps it."""
    return math.copysign(sys.float_info.max, value) if math.isinf(value) else float(value)


def _require(condition: bool, told: str) -> None:
    if not condition:
        raise ValueError(told)


def _text(what: str, value: object, limit: int) -> None:
    _require(isinstance(value, str) and len(value) <= limit, f"{what} is text of at most {limit}")
    assert isinstance(value, str)
    _require(portable_text(value, limit) == value, f"{what} holds control characters or a password")


def _whole(what: str, value: object, least: int, most: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    _require(whole and least <= value <= most, f"{what} is a whole number")  # type: ignore[operator]


def _entries(what: str, entries: object, check: Callable[[str, Any], None]) -> None:
    _require(isinstance(entries, Mapping) and len(entries) <= MAX_ENTRIES, f"too many {what}s")
    assert isinstance(entries, Mapping)
    for name, value in entries.items():
        # As MLflow has it: a name is a path below a run, and must be the same as one.
        plain = posixpath.normpath(name) == name and not name.startswith(("/", ".."))
        allowed = len(name) <= MAX_NAME and plain and name != "."
        _require(bool(_NAME.fullmatch(name)) and allowed, f"{what} with a name not allowed")
        check(f"{what} {name}", value)


def _points(what: str, points: Sequence[Point]) -> None:
    _require(0 < len(points) <= MAX_POINTS, f"{what} has too many points, or none")
    for point in points:
        _whole(f"step of {what}", point.step, -MAX_STEP, MAX_STEP)
        _whole(f"timestamp of {what}", point.timestamp, 0, MAX_TIME)
        _require(
            isinstance(point.value, float) and not math.isinf(point.value),
            f"{what} is a number",
        )
    _require(list(points) == sorted_points(points), f"points of {what} are sorted")


def sorted_points(points: Sequence[Point]) -> list[Point]:
    """By step, then time, then value, NaN last; each once, as stores keep them."""
    return sorted(dict.fromkeys(map(_unified, points)), key=_point_order)


def _unified(point: Point) -> Point:
    """NaN differs from itself, unless it is the one of math."""
    return point._replace(value=math.nan) if math.isnan(point.value) else point


def _point_order(point: Point) -> tuple[int, int, bool, float]:
    nan = math.isnan(point.value)
    return point.step, point.timestamp, nan, 0.0 if nan else point.value


def _listed(points: object) -> list[Any]:
    _require(isinstance(points, list) and len(points) <= MAX_POINTS, "points are a list")
    assert isinstance(points, list)
    return points


def _point(point: object) -> Point:
    _require(isinstance(point, list) and len(point) == 3, "a point is step, time and value")
    assert isinstance(point, list)
    step, timestamp, value = point
    return Point(step, timestamp, math.nan if value is None else value)


def _dataset(use: object) -> DatasetUse:
    _require(
        isinstance(use, dict) and use.keys() == _DATASET_LIMITS.keys(), "a data set is an object"
    )
    assert isinstance(use, dict)
    return DatasetUse(**use)


def dataset_order(use: DatasetUse) -> tuple[str, ...]:
    """What data sets are sorted by."""
    return tuple(getattr(use, field) for field in _DATASET_LIMITS)
