"""All that the comparison knows of a publication, in one value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Protocol

from mnist_ops.compare.extra_analyses import Topic
from mnist_ops.compare.findings.claim import Section
from mnist_ops.compare.findings.evidence import Evidence, Size
from mnist_ops.compare.headlines import Headline
from mnist_ops.compare.published import Number, Published
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.place import Place
from mnist_ops.compare.tables.table import Table
from mnist_ops.study.grids import Study
from mnist_ops.study.specs import Spec

if TYPE_CHECKING:
    from mnist_ops.compare.figures.figure import Figure
    from mnist_ops.compare.results import Results, Source

# A preset -> the cells at it; None where none of them is finished.
SelectionAt = Callable[[str], Selection | None]


class PaperTable(Protocol):
    """A table of a paper."""

    @property
    def number(self) -> int:
        """Its number in the paper."""

    def build(self, selection: Selection, published: Published) -> Table:
        """Return the table, measured beside published."""

    def place(self, number: Number) -> Place:
        """Return where the measured value of a published number of the table stands."""


@dataclass(frozen=True)
class BuiltTable:
    """A table that a function builds."""

    number: int
    build: Callable[[Selection, Published], Table]
    place: Callable[[Number], Place]


@dataclass(frozen=True)
class Paper:
    """A publication, and how to rebuild and judge what it says from runs.

    Attributes:
        name: by which it is looked up.
        title: of the publication.
        subject: what it is about, the page's title in the browser.
        studies: whose runs it is compared with.
        preset: the size of the paper's own runs.
        sizes: preset -> what its runs are.
        published: its printed numbers.
        tables: in its order.
        claims: what it claims, by section.
        headlines: the answers to its questions.
        figures: its figures and those beyond it, from the rest of the report.
        extra_analyses: questions that it leaves open and the runs answer.
        layout: heading of a part of the page -> numbers of tables and stems of figures in it.
        best: a row for each of its best results: what it is, published, measured, where a repeat
            falls 95% of the time, whether they agree.
        summary_figures: stem -> what it shows, of those that the Markdown summary has.
        baseline: a ``findings.json`` of earlier runs.
        source: by whom, in what and when it was published.
        address: where it can be read.
        question: what the studies are to answer, where nothing was published.
        key_claims: ids of the claims that the page begins with; none for all.
        full_size: where to see results at the paper's own size, for runs of another.
    """

    name: str
    title: str
    subject: str
    studies: tuple[Study, ...]
    preset: str
    sizes: Mapping[str, Size]
    published: Published
    tables: tuple[PaperTable, ...]
    claims: tuple[Section, ...]
    headlines: Callable[[Evidence], list[Headline]]
    figures: "Callable[[Results, Source], list[Figure]]"
    extra_analyses: Callable[[Selection, SelectionAt], list[Topic]]
    layout: Mapping[str, Sequence[int | str]]
    best: "Callable[[Results], Sequence[tuple[str, ...]]]"
    summary_figures: Mapping[str, str] = field(default_factory=dict)
    baseline: Traversable | None = None
    source: str = ""
    address: str = ""
    question: str = ""
    key_claims: Sequence[str] = ()
    full_size: str = ""

    def study(self, name: str) -> Study:
        """Return the study called `name`, which has to be one of the paper's."""
        return next(study for study in self.studies if study.name == name)

    def cells(self, preset: str) -> list[Spec]:
        """Return every cell of the studies at `preset`.

        The device of ``auto`` is a CPU; that of the runs takes its place (see `select`).
        """
        return [
            cell
            for study in self.studies
            for cell in study.with_axes(
                {"device": tuple("cpu" if d == "auto" else d for d in study.grid["device"])}
            ).cells(preset)
        ]

    def build_tables(self, selection: Selection) -> list[Table]:
        """Return all tables, in order: a pure function of the selection."""
        return [table.build(selection, self.published) for table in self.tables]
