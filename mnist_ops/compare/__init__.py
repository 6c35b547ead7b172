"""Runs in, report out: what any paper or study needs to be compared with its runs.

A paper is a `Paper`; `summarize` builds the report on it from the runs in a `Source`.
"""

from mnist_ops.compare.files import CannotWrite
from mnist_ops.compare.findings.baseline import NoBaseline
from mnist_ops.compare.paper import Paper
from mnist_ops.compare.report import Report, summarize
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
    "summarize",
]
