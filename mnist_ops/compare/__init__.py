"""Runs in, report out: what any paper or study needs to be compared with its runs.

A paper is a `Paper`; `summarize` builds the report on it from the runs in a `Source`. Each name is
imported when it is first used: what only reads the columns of runs needs no statistics.
"""

from typing import TYPE_CHECKING

from mnist_ops.core import lazy

if TYPE_CHECKING:
    from mnist_ops.compare.files import CannotWrite
    from mnist_ops.compare.findings.baseline import NoBaseline
    from mnist_ops.compare.paper import Paper
    from mnist_ops.compare.report import Report, evidence_of, summarize
    from mnist_ops.compare.results import Results, Source
    from mnist_ops.compare.selection import NoRuns

__all__ = [
    "CannotWrite",
    "NoBaseline",
    "NoRuns",
    "Paper",
    "Report",
    "Results",
    "Source",
    "evidence_of",
    "summarize",
]

__getattr__ = lazy.attributes(
    __name__,
    {
        "CannotWrite": "files",
        "NoBaseline": "findings.baseline",
        "NoRuns": "selection",
        "Paper": "paper",
        "Report": "report",
        "Results": "results",
        "Source": "results",
        "evidence_of": "report",
        "summarize": "report",
    },
)
