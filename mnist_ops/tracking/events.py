"""Check the form of a journal's events after reading them from disk."""

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

from mnist_ops.core import keys

Event = dict[str, Any]

_LARGEST = 2**63


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return type(value) is int and abs(value) < _LARGEST


def _number(value: Any) -> bool:
    # An integer may be too large for a metric.
    return isinstance(value, float) or _whole(value)


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value.values()))


def _numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_number, value.values()))


def _file(value: Any) -> bool:
    # Only files in the journal's own folder may be uploaded.
    return _text(value) and PurePath(value).name == value


def _opening(value: Any) -> bool:
    return _texts(value) and keys.JOURNAL in value


def _status(value: Any) -> bool:
    return value in ("FINISHED", "FAILED", "KILLED")


# Kind -> its fields. Further fields are ignored: a newer version may have written them.
_FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "open": {
        "time": _whole,
        "experiment_id": _text,
        "name": _text,
        "tags": _opening,
        "params": _texts,
        "forced": lambda value: isinstance(value, bool),
    },
    "run": {"run_id": lambda value: value is None or _text(value)},
    "metrics": {"time": _whole, "step": _whole, "values": _numbers},
    "params": {"values": _texts},
    "tags": {"values": _texts},
    "artifact": {"file": _file},
    "resume": {"time": _whole, "tags": _texts},
    "end": {"status": _status, "time": _whole},
    "synced": {},
}
# Optional fields of the opening event.
_OPTIONAL = {"dataset": _texts, "machine": _texts}


def are_events(found: Sequence[Any]) -> bool:
    """Return whether `found` are valid events of a journal, the first one an opening event."""
    return all(_is_event(event) for event in found) and all(
        (event["kind"] == "open") == (number == 0) for number, event in enumerate(found)
    )


def _is_event(found: Any) -> bool:
    if not isinstance(found, dict) or not isinstance(kind := found.get("kind"), str):
        return False
    fields = _FIELDS.get(kind)
    return (
        fields is not None
        and all(name in found and fits(found[name]) for name, fits in fields.items())
        and all(fits(found[name]) for name, fits in _OPTIONAL.items() if name in found)
    )
