"""Errors that a user can cause, each with a one-line message that says what to do."""

from typing import ClassVar


class MnistOpsError(Exception):
    """Work failed for a reason outside the program: the command line exits with 1.

    Attributes:
        exit_code: of the command line.
        resumable: whether the world was at fault rather than the cell that ran: the same command
            then goes on, where a cell that failed by itself would fail again.
    """

    exit_code: ClassVar[int] = 1
    resumable: ClassVar[bool] = False


class InvalidInput(MnistOpsError, ValueError):
    """A value that the program was given is not usable: the command line exits with 2."""

    exit_code = 2


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
