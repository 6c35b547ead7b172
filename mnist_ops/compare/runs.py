"""Read the runs as they arrive: any column may be missing, any value may be unusable."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from mnist_ops.core.escaping import printable
from mnist_ops.study.validity import MAX_WHOLE, METRICS, PARAMS, flag

RUN_ID = "run_id"
EXPERIMENT_ID = "experiment_id"
NAME = "name"
STATUS = "status"
STUDY = "study"
FINGERPRINT = "fingerprint"
PRESET = "preset"
START_TIME = "start_time"
END_TIME = "end_time"
ERROR = "error"
GIT_COMMIT = "git_commit"
TIME = "time"
UNTIL_DECIDED = "until_decided"
FAMILY = "family"
INSTRUCTION_SET = "instruction_set"

# Columns of tags that name the machine and the libraries start with these.
HARDWARE_PREFIX = "hardware_"
VERSION_PREFIX = "version_"
# And those of the arguments of a user's functions, as JSON, with this.
ARGUMENT_PREFIX = "argument_"

# Every column that the comparison reads, and what its values are.
COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        RUN_ID: "text",
        EXPERIMENT_ID: "text",
        NAME: "text",
        STATUS: "text",
        STUDY: "text",
        FINGERPRINT: "text",
        PRESET: "text",
        START_TIME: "time",
        END_TIME: "time",
        ERROR: "text",
        GIT_COMMIT: "text",
        TIME: "text",
        UNTIL_DECIDED: "text",
        FAMILY: "text",
        INSTRUCTION_SET: "text",
        **PARAMS,
        **dict.fromkeys(METRICS, "number"),
    }
)


def typed(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with every column of `COLUMNS` and the tag columns, each of its type.

    A value that cannot be read as its column's type is missing; texts are `printable`. The rows
    come in the order of their start, then run id, whatever order they arrive in; the argument is
    left as it is.
    """
    columns = {name: _READERS[kind](_column(runs, name)) for name, kind in COLUMNS.items()}
    for name in sorted(map(str, runs.columns)):
        if name.startswith((HARDWARE_PREFIX, VERSION_PREFIX, ARGUMENT_PREFIX)):
            columns[printable(name)] = _text(_column(runs, name))
    frame = pd.DataFrame(columns, index=range(len(runs)))
    return frame.sort_values([START_TIME, RUN_ID], ignore_index=True, na_position="first")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as dictionaries by column."""
    return [{str(name): value for name, value in r.items()} for r in frame.to_dict("records")]


def _column(runs: pd.DataFrame, name: str) -> list[object]:
    return list(runs[name]) if name in runs.columns else [None] * len(runs)


def _text(values: Iterable[object]) -> pd.Series:
    return pd.Series([None if _absent(v) else _lines(str(v)) for v in values], dtype="object")


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.splitlines()))


def _number(values: Iterable[object]) -> pd.Series:
    known = pd.Series(list(values), dtype="object")
    return pd.to_numeric(known, errors="coerce").astype("float64")


def _whole(values: Iterable[object]) -> pd.Series:
    number = _number(values)
    return number.where((number % 1 == 0) & (number.abs() <= MAX_WHOLE)).astype("Int64")


def _flag(values: Iterable[object]) -> pd.Series:
    return pd.Series([None if _absent(v) else flag(str(v)) for v in values], dtype="boolean")


def _time(values: Iterable[object]) -> pd.Series:
    known = pd.Series(list(values), dtype="object")
    return pd.to_datetime(known, errors="coerce", utc=True).astype("datetime64[ms, UTC]")


def _absent(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or value != value or value == ""


_READERS: Mapping[str, Callable[[Iterable[object]], pd.Series]] = {
    "text": _text,
    "whole": _whole,
    "number": _number,
    "flag": _flag,
    "time": _time,
}
