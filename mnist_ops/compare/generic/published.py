"""What a user's study reruns: printed numbers read from CSV, and claims that are data."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_ops.compare.cells import BOOKKEEPING, spec_params
from mnist_ops.compare.findings import rules
from mnist_ops.compare.findings.claim import Claim, Section
from mnist_ops.compare.findings.contrast import contrast, put_apart
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.outcome import Outcome
from mnist_ops.compare.findings.printed import accuracies, largest, matched
from mnist_ops.compare.generic.configurations import in_words
from mnist_ops.compare.paper import BuiltTable, Paper
from mnist_ops.compare.published import (
    ACCURACY,
    F1,
    QUANTITIES,
    TRAIN_TIME_S,
    Number,
    Published,
)
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.measure import TO_PERCENT, compared, compared_columns, grouped
from mnist_ops.compare.tables.place import Place
from mnist_ops.compare.tables.table import Column, Table, Value, build
from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput
from mnist_ops.study.grids import Study
from mnist_ops.study.paper import Better, OwnClaim, OwnPaper

if TYPE_CHECKING:
    from mnist_ops.compare.figures.figure import Figure
    from mnist_ops.compare.results import Results, Source

# The number of the table in the report.
PUBLISHED = 5
TABLE, METRIC, VALUE, CONFIGURATION = "table", "metric", "value", "configuration"
# What may be printed -> the metric of a run, and what that is multiplied by.
_MEASURED = {
    ACCURACY: (keys.TEST_ACCURACY, TO_PERCENT),
    F1: (keys.TEST_F1, 1.0),
    TRAIN_TIME_S: (keys.TRAIN_TIME_S, 1.0),
}
_NOT_IN_GRID = "not in the study's grid"


def with_publication(paper: Paper, study: Study, publication: OwnPaper) -> Paper:
    """Return the paper of a user's study with what was published on it.

    Args:
        paper: as it is without.
        study: whose numbers and claims they are.
        publication: the numbers and claims.

    Raises:
        InvalidInput: the file of numbers cannot be read, or a number or a claim is not of the
            study; the message names it.
    """
    if publication.preset not in study.presets:
        presets = ", ".join(study.presets)
        raise InvalidInput(
            f"paper {publication.title!r}: preset must be one of {presets}; "
            f"got {publication.preset!r}"
        )
    configurations = _Configurations.of(study, publication.preset)
    numbers = () if publication.file is None else _read(publication.file, configurations)
    published = Published(numbers)
    claims = [
        _claim(str(place), claim, configurations, published)
        for place, claim in enumerate(publication.claims, start=1)
    ]

    def figures(results: "Results", source: "Source") -> "list[Figure]":
        # plotly takes a second to import.
        from mnist_ops.compare.figures.agreement import agreement_figure

        drawn = agreement_figure(results.agreement)
        return [*([drawn] if drawn else []), *paper.figures(results, source)]

    table = BuiltTable(
        PUBLISHED,
        lambda selection, published: _table(configurations, selection, published),
        lambda number: _place(number, study.name),
    )
    return replace(
        paper,
        title=publication.title,
        subject=publication.title,
        source=publication.source,
        preset=publication.preset,
        published=published,
        tables=(*paper.tables, *([table] if numbers else [])),
        claims=(Section(publication.title, tuple(claims)),) if claims else (),
        figures=figures,
        layout={**paper.layout, **({"Published numbers": (PUBLISHED,)} if numbers else {})},
    )


@dataclass(frozen=True)
class _Configurations:
    """The configurations of a study's grid.

    Attributes:
        study: its name.
        params: of each, without the seed and what follows from others.
    """

    study: str
    params: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, study: Study, preset: str) -> "_Configurations":
        """Return those of `study`; a device is among the params where there are several."""
        devices = tuple("cpu" if each == "auto" else each for each in study.grid[keys.DEVICE])
        without = {keys.SEED, keys.PRECISION, *BOOKKEEPING}
        without |= {keys.DEVICE} if len(devices) == 1 else set()
        found: dict[tuple[tuple[str, str], ...], Mapping[str, Any]] = {}
        for cell in study.with_axes({keys.DEVICE: devices}).cells(preset):
            params = {k: v for k, v in spec_params(cell).items() if k not in without}
            found.setdefault(tuple((k, str(v)) for k, v in params.items()), params)
        return cls(study.name, tuple(found.values()))

    @property
    def names(self) -> list[str]:
        """The params that any configuration has."""
        return list(dict.fromkeys(name for each in self.params for name in each))

    @property
    def varied(self) -> list[str]:
        """The params that have several values, those that say what is fitted to what first."""
        first = [keys.DATASET, keys.MODEL]
        names = [*first, *(name for name in self.names if name not in first)]
        return [name for name in names if len(self.values(name)) > 1]

    def values(self, name: str) -> list[Any]:
        """Return the values of a param."""
        return list(dict.fromkeys(each.get(name) for each in self.params))

    def value(self, name: str, given: object) -> Any:
        """Return the value of a param that `given` stands for; None without one."""
        wanted = getattr(given, "name", None) or getattr(given, "__name__", None) or given
        if name == keys.MODEL:
            wanted = str(wanted).rpartition(":")[2]
        for value in self.values(name):
            if value is not None and (value == wanted or str(value) == str(wanted)):
                return value
            if (
                isinstance(value, int | float)
                and _is_number(wanted)
                and float(str(wanted)) == value
            ):
                return value
        return None

    def having(self, params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the configurations that have these params."""
        return [c for c in self.params if all(c.get(k) == v for k, v in params.items())]


def _read(path: Path, configurations: _Configurations) -> tuple[Number, ...]:
    """Return the numbers of a CSV file."""
    try:
        # Spreadsheets begin their UTF-8 with a byte order mark.
        reader = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(), strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"published numbers cannot be read from {path}: {reason}") from None
    columns = list(reader.fieldnames or ())
    for name in (METRIC, VALUE):
        if name not in columns:
            raise InvalidInput(f"{path}, line 1: there is no column {name}")
    for name in columns:
        if name not in (TABLE, METRIC, VALUE, *configurations.names):
            axes = ", ".join(configurations.names)
            raise InvalidInput(
                f"{path}, line 1: column {name!r} is no axis of study {configurations.study}; "
                f"its axes: {axes}"
            )
    if not rows:
        raise InvalidInput(f"{path} has no numbers: each is a line under the columns' names")
    numbers: dict[tuple[str, str], Number] = {}
    for line, row in rows:
        try:
            number = _number(row, configurations)
            if (key := (number.metric, number.text)) in numbers:
                raise InvalidInput(f"there is a number for {', '.join(key)} already")
        except InvalidInput as error:
            raise InvalidInput(f"{path}, line {line}: {error}") from None
        numbers[key] = number
    return tuple(numbers.values())


def _number(row: Mapping[Any, Any], configurations: _Configurations) -> Number:
    if None in row or None in row.values():
        raise InvalidInput("it has not as many fields as line 1")
    texts = {name: str(text).strip() for name, text in row.items()}
    metric, printed = texts[METRIC], texts[VALUE]
    if metric not in _MEASURED:
        raise InvalidInput.not_one_of(METRIC, metric, _MEASURED)
    given = {k: v for k, v in texts.items() if v and k not in (TABLE, METRIC, VALUE)}
    fields = {name: _field(configurations, name, text) for name, text in given.items()}
    found = configurations.having(fields)
    if len(found) > 1:
        open_axes = [n for n in configurations.varied if len({str(c.get(n)) for c in found}) > 1]
        raise InvalidInput(
            f"{len(found)} configurations of study {configurations.study} have these values: "
            f"give one of {', '.join(open_axes)}, too"
        )
    shown = {n: found[0].get(n) for n in configurations.varied} if found else fields
    where = f"table {texts[TABLE]}" if texts.get(TABLE, "").isdigit() else texts.get(TABLE, "")
    text = ", ".join(part for part in (where, in_words(shown)) if part)
    known = {name: value for name, value in found[0].items() if value is not None} if found else {}
    number = Number(PUBLISHED, metric, known or fields, printed, text)
    _check_value(number)
    return number


def _field(configurations: _Configurations, name: str, text: str) -> Any:
    value = configurations.value(name, text)
    if value is not None:
        return value
    numeric = all(
        isinstance(each, int | float) and not isinstance(each, bool)
        for each in configurations.values(name)
        if each is not None
    )
    if numeric and not _is_number(text):
        raise InvalidInput(f"{name} takes numbers, got {text!r}")
    return float(text) if numeric else text


def _check_value(number: Number) -> None:
    try:
        value = number.value
    except InvalidOperation:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise InvalidInput(f"{VALUE} takes numbers from 0 on, got {number.printed!r}")
    most = {ACCURACY: 100.0, F1: 1.0}.get(number.metric, float("inf"))
    if value > most:
        raise InvalidInput(f"{number.metric} is at most {most:g}, got {number.printed}")
    if number.metric == ACCURACY and value <= 1:
        raise InvalidInput(f"accuracy is in percent, 0.987 is 98.7; got {number.printed!r}")


def _is_number(text: object) -> bool:
    try:
        return Decimal(str(text)).is_finite()
    except InvalidOperation:
        return False


def _table(configurations: _Configurations, selection: Selection, published: Published) -> Table:
    """Return what was measured of each configuration that a number is printed for."""
    metrics = list(dict.fromkeys(number.metric for number in published.numbers))
    rows: list[dict[str, Value]] = []
    for text, numbers in grouped(published.numbers, lambda number: number.text).items():
        row: dict[str, Value] = {CONFIGURATION: text}
        for number in numbers:
            metric, scale = _MEASURED[number.metric]
            cells = [
                cell
                for cell in selection.of(configurations.study)
                if all(cell.params.get(k) == v for k, v in number.fields.items())
            ]
            row |= compared(number.metric, cells, metric, number.value, scale)
            if not configurations.having(number.fields):
                row[f"{number.metric}_measured"] = _NOT_IN_GRID
        rows.append(row)
    columns = [Column(CONFIGURATION, "Configuration", is_key=True)]
    for metric in metrics:
        quantity = QUANTITIES[metric]
        columns += compared_columns(metric, quantity.label, quantity.kind, spread=True)
    return build(PUBLISHED, "Published numbers", columns, rows)


def _place(number: Number, study: str) -> Place:
    return Place({CONFIGURATION: number.text}, number.metric, study)


def _claim(
    name: str, claim: OwnClaim, configurations: _Configurations, published: Published
) -> Claim:
    """Return the claim with its test."""
    try:
        first, second = (_side(side, configurations) for side in (claim.first, claim.second))
        _check_match(first, second, configurations)
    except InvalidInput as error:
        raise InvalidInput(f"claim {claim.text!r}: {error}") from None

    def evidence_in_print() -> str:
        pairs = matched(published, [PUBLISHED], ACCURACY, first, second)
        if not pairs:
            return ""
        return accuracies(pairs) if isinstance(claim, Better) else largest(pairs, claim.within)

    def test(evidence: Evidence) -> Outcome:
        found = contrast(evidence.cells(configurations.study), first, second)
        if isinstance(claim, Better):
            if claim.everywhere:
                return rules.consistent(evidence, found, by=claim.by)
            return rules.higher(evidence, found, claim.by)
        rule = rules.little_difference if claim.everywhere else rules.equal
        return rule(evidence, found, claim.within)

    return Claim(name, claim.text, evidence_in_print, test)


def _side(side: Mapping[str, Any], configurations: _Configurations) -> dict[str, Any]:
    """Return one side of a claim in the values of the runs."""
    found = {}
    for name, given in side.items():
        if name not in configurations.names:
            what = f"an axis of study {configurations.study}"
            raise InvalidInput.not_one_of(what, name, configurations.names)
        found[name] = configurations.value(name, given)
        if found[name] is None:
            values = ", ".join(str(v) for v in configurations.values(name) if v is not None)
            raise InvalidInput(
                f"study {configurations.study} has no {name} {given!r}; its values: {values}"
            )
    if not configurations.having(found):
        raise InvalidInput(f"no configuration of study {configurations.study} has {_said(found)}")
    return found


def _check_match(
    first: Mapping[str, Any], second: Mapping[str, Any], configurations: _Configurations
) -> None:
    """Refuse sides that are no two settings of configurations which differ in nothing else."""
    if first == second:
        raise InvalidInput("first and second are the same")
    sides = [configurations.having(side) for side in (first, second)]
    apart = put_apart(first, second, *sides)
    matches = []
    for given, side in zip((first, second), sides, strict=True):
        by_rest = grouped(side, lambda c: frozenset((k, str(c[k])) for k in c.keys() - apart))
        for alike in by_rest.values():
            if len(alike) > 1:
                names = [n for n in alike[0] if len({str(c.get(n)) for c in alike}) > 1]
                raise InvalidInput(
                    f"{len(alike)} configurations with {_said(given)} stand against one: "
                    f"give one value of {', '.join(names)}, too"
                )
        matches.append(by_rest.keys())
    if not matches[0] & matches[1]:
        raise InvalidInput(
            f"no configuration with {_said(first)} differs from one with {_said(second)} in "
            "these axes alone: name every axis that differs"
        )


def _said(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in params.items())


def publication_of(studies: Iterable[Study]) -> tuple[Study, OwnPaper] | None:
    """Return the one study that has a paper, and that; None without one.

    Raises:
        InvalidInput: several have.
    """
    found: Sequence[tuple[Study, OwnPaper]] = [(s, s.paper) for s in studies if s.paper is not None]
    if len(found) > 1:
        names = " and ".join(study.name for study, _ in found)
        raise InvalidInput(f"{names} have a paper each: write a report on each of them")
    return found[0] if found else None
