"""The errors that a user can cause, each told in one line that says what to do."""


class MnistOpsError(Exception):
    """Work failed for a reason outside the program: the command line exits with 1."""

    exit_code = 1


class InvalidInput(MnistOpsError, ValueError):
    """A value that the program was given is not usable: the command line exits with 2."""

    exit_code = 2


class DataUnavailable(MnistOpsError):
    """A data set cannot be had from any source, or not all of it is intact."""


class TrackingUnavailable(MnistOpsError):
    """The tracking store cannot be read or written."""
