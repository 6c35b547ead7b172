"""Errors that a user can cause, each with a one-line message that says what to do."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class MnistOpsError(Exception):
    """Work failed for a reason outside the program; the command line exits with 1.

    Attributes:
        exit_code: of the command line.
        resumable: whether the cause lies outside the cell that ran. The same command then
            continues it; a cell that failed by itself would fail again.
    """

    exit_code: ClassVar[int] = 1
    resumable: ClassVar[bool] = False


class InvalidInput(MnistOpsError, ValueError):
    """An input value is invalid; the command line exits with 2."""

    exit_code = 2

    @classmethod
    def not_one_of(cls, what: str, given: object, allowed: Iterable[str]) -> "InvalidInput":
        """Return the error that `given` is none of the allowed values of `what`.

        Its message lists them, and names the closest one where `given` looks misspelt.
        """
        allowed = list(allowed)
        close = get_close_matches(str(given), allowed, n=1)
        hint = f": did you mean {close[0]}?" if close else ""
        return cls(f"{what} must be one of {', '.join(allowed)}; got {given!r}{hint}")


class DataUnavailable(MnistOpsError):
    """A data set is available from no source, or some of its files are damaged."""

    resumable = True


class TrackingUnavailable(MnistOpsError):
    """The tracking store cannot be read or written."""

    resumable = True


class DiskFull(MnistOpsError):
    """The disk has no room for data that must be kept."""

    resumable = True


class NotWritable(MnistOpsError):
    """The process lacks the permission to write a folder or file."""

    resumable = True


class Stopped(MnistOpsError):
    """The work stopped on request, in a state from which it can continue."""

    resumable = True


def one_line(error: BaseException) -> str:
    """Return the message of `error` on one line, after its type unless it is one of these."""
    message = " ".join(str(error).split())
    return message if isinstance(error, MnistOpsError) else f"{type(error).__name__}: {message}"
