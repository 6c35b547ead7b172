"""The errors that a user can cause, each told in one line that says what to do."""

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
    """A data set cannot be had from any source, or not all of it is intact."""

    resumable = True


class TrackingUnavailable(MnistOpsError):
    """The tracking store cannot be read or written."""

    resumable = True


class DiskFull(MnistOpsError):
    """There is no room for what must be kept."""

    resumable = True


class NotWritable(MnistOpsError):
    """A folder or file that must be written cannot be, for want of permission."""

    resumable = True


class Stopped(MnistOpsError):
    """The work was asked to stop, and did, where it can go on from."""

    resumable = True
