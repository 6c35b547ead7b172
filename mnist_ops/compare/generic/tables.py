"""The tables of a study's own report: setting, best, what matters, every configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from mnist_ops.compare import statistics
from mnist_ops.compare.generic.configurations import Configuration, Grid, Score, label, shown
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.measure import absence
from mnist_ops.compare.tables.table import PLAIN, SECONDS, Column, Kind, Table, Value, build
from mnist_ops.core import keys

SETTING, BEST, EFFECTS, CONFIGURATIONS = 1, 2, 3, 4
_MILLIONS = Kind(decimals=2, unit="M", significant=3)
_OTHERS: Mapping[str, tuple[str, str, Kind, float]] = {
    "train_time_s": (keys.TRAIN_TIME_S, "training time (s)", SECONDS, 1),
    "flops_m": (keys.FLOPS, "FLOPs", _MILLIONS, 1e-6),
    "parameters": (keys.PARAMETERS, "parameters", PLAIN, 1),
}


def setting(selection: Selection, grid: Grid) -> Table:
    """Return what was varied, what was not, and how many cells that is."""
    rows = [("Question", study.question) for study in selection.studies if study.question]
    rows += [(f"Axis: {label(axis)}", _listed(values)) for axis, values in grid.axes.items()]
    if grid.fixed:
        fixed = ", ".join(f"{label(name)} {shown(value)}" for name, value in grid.fixed.items())
        rows.append(("The same in all cells", fixed))
    rows.append(("Seeds", _listed(grid.seeds)))
    rows += [("Images", text) for text in _images(selection)]
    rows.append(("Configurations", f"{len(grid.configurations):,}"))
    columns = (Column("what", "What", is_key=True), Column("value", "Value"))
    return build(SETTING, "Setting", columns, [{"what": w, "value": v} for w, v in rows])


def best(grid: Grid, score: Score) -> Table:
    """Return the best configuration of each data set and model, chosen by validation images."""
    rows = [
        {
            "dataset": shown(dataset),
            "configuration": chosen.text((keys.DATASET,)),
            **{k: v for k, v in _measured(chosen, score).items() if k not in _OTHERS},
        }
        for dataset in grid.datasets
        for chosen in grid.best_by_model(dataset)
    ]
    columns = (
        *([Column("dataset", "Data set", is_key=True)] if any(grid.datasets) else []),
        Column("configuration", "Configuration", is_key=True),
        *_columns(score, rows),
    )
    return build(BEST, "Best configurations", columns, rows, [how_chosen(grid, score)])


def effects(grid: Grid, score: Score) -> Table:
    """Return the main effect of each value of each axis."""
    rows: list[dict[str, Value]] = []
    for axis in grid.by_range():
        for effect in grid.effects(axis):
            against = effect.against_first
            interval = against.interval if against and against.interval else ("", "")
            rows.append(
                {
                    "axis": label(axis),
                    "value": shown(effect.value),
                    "mean": effect.mean,
                    "n": effect.n,
                    "difference": against.effect if against else "",
                    "low": interval[0],
                    "high": interval[1],
                    "seeds": against.n if against else "",
                }
            )
    kind, first = score.kind, "Against the first value"
    columns = (
        Column("axis", "Axis", is_key=True),
        Column("value", "Value", is_key=True),
        Column("mean", score.label, kind=kind),
        Column("n", "configurations"),
        Column("difference", "difference", first, kind.difference, is_difference=True),
        Column("low", "95% from", first, kind.difference),
        Column("high", "to", first, kind.difference),
        Column("seeds", "seeds", first),
    )
    notes = (
        "A mean is over configurations, each with equal weight. A difference is the mean over "
        "configurations that differ in nothing else, its interval that of the paired t test over "
        "seeds, which are what varies; it is not adjusted for how many there are.",
    )
    return build(EFFECTS, "What matters, by axis", columns, rows, notes)


def configurations(grid: Grid, score: Score) -> Table:
    """Return every configuration, finished or not, in the order of the grid."""
    rows: list[dict[str, Value]] = []
    for each in grid.configurations:
        key: dict[str, Value] = {axis: shown(value) for axis, value in each.values.items()}
        rows.append(key | _measured(each, score))
    key_columns = [Column(axis, label(axis), is_key=True) for axis in grid.axes]
    if not key_columns:
        key_columns = [Column("configuration", "Configuration", is_key=True)]
        rows = [{"configuration": "the one configuration", **row} for row in rows]
    return build(CONFIGURATIONS, "All configurations", (*key_columns, *_columns(score, rows)), rows)


def how_chosen(grid: Grid, score: Score) -> str:
    """Return a sentence on what the best is chosen by."""
    count = f"{len(grid.configurations):,} configurations"
    chosen = "The best of each model, chosen" if keys.MODEL in grid.axes else "Chosen"
    if score.chosen_by != score.metric:
        return (
            f"{chosen} among {count} by mean validation accuracy, and measured on test images that "
            "chose nothing."
        )
    return (
        f"{chosen} among {count} by the very metric that is reported: the best of several is "
        "reported too high."
    )


def _measured(each: Configuration, score: Score) -> dict[str, Value]:
    results = each.results
    if not results:
        return {"score": absence(each.cells), "n": 0}
    mean = statistics.mean_interval(results)
    interval = each.interval or ("", "")
    row: dict[str, Value] = {
        "score": mean.mean,
        "std": "" if mean.deviation is None else mean.deviation,
        "low": interval[0],
        "high": interval[1],
        "n": len(results),
    }
    if score.chosen_by != score.metric and each.chosen_by is not None:
        row["validation"] = each.chosen_by
    for name, (metric, _, _, scale) in _OTHERS.items():
        if (value := each.mean_of(metric)) is not None:
            row[name] = int(value) if name == "parameters" else value * scale
    return row


def _columns(score: Score, rows: Sequence[Mapping[str, Value]]) -> list[Column]:
    kind, group = score.kind, score.label
    columns = [
        Column("score", "mean", group, kind),
        Column("std", "std", group, kind),
        Column("low", "95% from", group, kind),
        Column("high", "to", group, kind),
        Column("n", "n", group),
        Column("validation", "Validation accuracy (%)", kind=kind),
    ]
    columns += [Column(name, text, kind=k) for name, (_, text, k, _) in _OTHERS.items()]
    there = {name for row in rows for name, value in row.items() if value != ""}
    return [column for column in columns if column.name in there | {"score", "n"}]


def _images(selection: Selection) -> list[str]:
    sizes = {
        tuple(cell.params.get(name) for name in (keys.N_TRAIN, keys.N_VAL, keys.N_TEST))
        for cell in selection.cells
        if cell.finished and keys.N_TRAIN in cell.params
    }
    return [
        f"{train:,} for training, {val:,} for validation, {test:,} for test"
        for train, val, test in sorted(sizes)
        if None not in (train, val, test)
    ]


def _listed(values: Sequence[Any]) -> str:
    texts = [shown(value) or "(none)" for value in values]
    return ", ".join(texts[:20]) + (f" and {len(texts) - 20} more" if len(texts) > 20 else "")
