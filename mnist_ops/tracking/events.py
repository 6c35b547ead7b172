"""The events of a journal: their form, and what they say about the run."""

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

from mnist_ops.core import keys

Event = dict[str, Any]


class RunEvents:
    """A run by the events of its journal.

    Attributes:
        events: in order; the first one opens the run.
    """

    events: Sequence[Event]

    @property
    def opened(self) -> Event | None:
        """The opening event; None without events."""
        return self.events[0] if self.events else None

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the opening event."""
        return dict(self.opened["tags"]) if self.opened else {}

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the cell; None for the run of a grid."""
        return self.tags.get(keys.FINGERPRINT)

    @property
    def forced(self) -> bool:
        """Return whether the run replaces a finished one; such a run is not resumed."""
        return bool(self.opened and self.opened.get("forced"))

    @property
    def is_synced(self) -> bool:
        """Return whether the store has everything; the run was interrupted and can be resumed."""
        return bool(self.events) and self.events[-1]["kind"] == "synced"


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
