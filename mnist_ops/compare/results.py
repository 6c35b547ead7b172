"""What a report is made from, and what it holds before it is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd
from numpy.typing import NDArray

from mnist_ops.compare.extra_analyses import Topic
from mnist_ops.compare.findings.finding import Finding
from mnist_ops.compare.headlines import Headline
from mnist_ops.compare.joint_agreement import Joint
from mnist_ops.compare.official_images import Fit
from mnist_ops.compare.predictions import PredictionsOf, no_predictions
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.table import Table

if TYPE_CHECKING:
    from mnist_ops.compare.figures.figure import Figure

# A run and one of its metrics -> its value at each step.
History: TypeAlias = Callable[[str, str], list[tuple[int, float]]]
# A data set and which of its images -> uint8, shape (n, height, width); None if not at hand.
Pixels: TypeAlias = Callable[[str, NDArray[Any]], NDArray[Any] | None]


def no_history(run_id: str, metric: str) -> list[tuple[int, float]]:
    """Stand in where there is no way to get the course of a metric."""
    return []


def no_classes(dataset: str) -> tuple[str, ...]:
    """Stand in where the names of the classes are not known: they are numbers."""
    return ()


@dataclass(frozen=True)
class Source:
    """The runs, and ways to what belongs to them, wherever they come from.

    Attributes:
        runs: one row a run, columns as in `mnist_ops.compare.runs.COLUMNS`.
        not_measured: fingerprint -> why the cell could not be run.
        left_out: a line on each run of the store that is not among `runs`, as it cannot be right.
        predictions: run id -> its test-set predictions; asked only for runs that a finding or a
            figure needs.
        history: run id, metric -> step and value of each point; likewise.
        pixels: data set, indices -> images, to show what is confused; None shows none.
        classes: data set -> the names of its classes.
        tracking_uri: of the store, for links to the runs where it is a server's.
    """

    runs: pd.DataFrame
    not_measured: Mapping[str, str] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    predictions: PredictionsOf = no_predictions
    history: History = no_history
    pixels: Pixels | None = None
    classes: Callable[[str], Sequence[str]] = no_classes
    tracking_uri: str = ""


@dataclass(frozen=True)
class Results:
    """What a report says.

    Attributes:
        selection: the cells behind the tables.
        tables: those of the paper.
        findings: every claim with its verdict.
        agreement: one row a published number, columns as of `agreement.COLUMNS`.
        joint: the published numbers of a table or family tested together.
        official: how well the data sets' own test images fit, where cells were tested on them.
        headlines: the answers to the paper's questions.
        topics: what the paper could not show.
        figures: the paper's, and those beyond it.
    """

    selection: Selection
    tables: tuple[Table, ...] = ()
    findings: tuple[Finding, ...] = ()
    agreement: pd.DataFrame = field(default_factory=pd.DataFrame)
    joint: tuple[Joint, ...] = ()
    official: tuple[Fit, ...] = ()
    headlines: tuple[Headline, ...] = ()
    topics: tuple[Topic, ...] = ()
    figures: "tuple[Figure, ...]" = ()
