"""Tables 7 and 11: the best support vector machine and the best network of each data set."""

from mnist_ops.compare import published
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.formatting import agreement_rows
from mnist_ops.compare.over_seeds import Difference, difference
from mnist_ops.compare.paper import BuiltTable
from mnist_ops.compare.published import Number, Published
from mnist_ops.compare.results import Results
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables import measure
from mnist_ops.compare.tables.champion import Champion, by_configuration, champion
from mnist_ops.compare.tables.labels import configuration, model_label
from mnist_ops.compare.tables.measure import (
    TO_PERCENT,
    compared,
    compared_columns,
    grouped,
    repeated,
)
from mnist_ops.compare.tables.place import Place
from mnist_ops.compare.tables.table import F1, PERCENT, Column, Table, Value, build
from mnist_ops.core import keys

from ..printed import PUBLISHED
from ..studies import RESNET_GRID, SVM_GRID

# Way to choose the best -> the metric that is maximised.
CHOSEN_ON = {
    "validation": keys.VAL_ACCURACY,
    "test (the study's way)": keys.TEST_ACCURACY,
}

_VALIDATION, _ON_TEST = ({"chosen_on": way} for way in CHOSEN_ON)
_QUANTITIES = {
    published.ACCURACY: "accuracy_pct",
    published.F1: "f1",
    published.IMPROVEMENT: "improvement_points",
}
_METHODS = {SVM_GRID: "SVM", RESNET_GRID: "Deep Learning"}
_NOTES = (
    "Chosen on validation: the configuration with the best validation accuracy, the first of the "
    "grid where several are equal; its accuracy and F1 are those on the test images. The study "
    "chose on the test images themselves: the rows that are named so do as it did.",
)


def improvement_table(selection: Selection, printed: Published) -> Table:
    """Build table 7: the best SVM against the best network, and the points between them."""
    columns = [
        Column(keys.DATASET, "Dataset", is_key=True),
        Column("method", "Method", is_key=True),
        Column("chosen_on", "Chosen on", is_key=True, is_joined=True),
        Column("configuration_measured", "measured", "Configuration"),
        Column("configuration_published", "published", "Configuration"),
        *compared_columns("accuracy_pct", "Accuracy (%)", PERCENT, spread=_spread(selection)),
        *compared_columns("improvement_points", "Improvement", PERCENT.difference, spread=False),
    ]
    rows = []
    for dataset in _datasets(selection):
        for way in CHOSEN_ON:
            svm = _row(selection, 7, SVM_GRID, dataset, way)
            resnet = _row(selection, 7, RESNET_GRID, dataset, way)
            points_here = _points(svm["accuracy_pct_measured"], resnet["accuracy_pct_measured"])
            points = PUBLISHED.value(7, published.IMPROVEMENT, dataset=dataset)
            resnet |= {
                "improvement_points_measured": points_here,
                "improvement_points_published": points,
                "improvement_points_difference": measure.difference(points_here, points),
            }
            rows += [svm, resnet]
    return build(7, "Best Results: SVM vs ResNet Comparison", columns, rows, _NOTES)


def best_table(selection: Selection, printed: Published) -> Table:
    """Build table 11: the best network and the best SVM of each data set, accuracy and F1."""
    spread = _spread(selection)
    columns = [
        Column("task", "Task", is_key=True),
        Column("chosen_on", "Chosen on", is_key=True, is_joined=True),
        Column("configuration_measured", "measured", "Best Configuration"),
        Column("configuration_published", "published", "Best Configuration"),
        *compared_columns("accuracy_pct", "Accuracy (%)", PERCENT, spread=spread),
        *compared_columns("f1", "F1 Score", F1, spread=spread),
    ]
    rows = []
    for study in (RESNET_GRID, SVM_GRID):
        for dataset in _datasets(selection):
            for way in CHOSEN_ON:
                row = _row(selection, 11, study, dataset, way)
                row["task"] = f"{dataset} ({_METHODS[study]})"
                if study == RESNET_GRID:
                    for source in ("measured", "published"):
                        named = (row[f"method_{source}"], row[f"configuration_{source}"])
                        row[f"configuration_{source}"] = ", ".join(str(n) for n in named if n)
                rows.append(row)
    return build(11, "Best Configurations Summary", columns, rows, _NOTES)


def best_results(results: Results) -> list[tuple[str, ...]]:
    """Return the accuracies of table 11: what, published, measured, range of repeats, agreement."""
    (table,) = (table for table in results.tables if table.number == 11)
    rows: list[tuple[str, ...]] = []
    for number, texts in zip(PUBLISHED.numbers, agreement_rows(results.agreement), strict=True):
        if (number.table, number.metric) != (11, published.ACCURACY):
            continue
        place = _best_place(number)
        (row,) = (row for row in table.frame.to_dict("records") if place.holds(row))
        rows.append(
            (
                f"{number.fields[keys.DATASET]}, {'SVM' if _is_svm(number) else 'network'}",
                f"{texts['published']} ({row['configuration_published']})",
                f"{texts['measured'] or texts['agrees']} ({row['configuration_measured']})",
                texts["interval"],
                texts["agrees"],
            )
        )
    return rows


def _row(selection: Selection, table: int, study: str, dataset: str, way: str) -> dict[str, Value]:
    """Return a row with the columns of tables 7 and 11."""
    chosen = champion(selection, study, dataset, CHOSEN_ON[way])
    printed = _printed(table, study, dataset)
    # The epochs of the study's champions are known (see `printed`), but not in their names.
    named = {name: value for name, value in printed.items() if name != keys.EPOCHS}
    model = model_label(str(printed.get(keys.MODEL, "")))
    fallback = "SVM" if study == SVM_GRID else "ResNet"
    accuracy = PUBLISHED.value(table, published.ACCURACY, **printed) if printed else ""
    f1 = PUBLISHED.value(table, published.F1, **printed) if printed else ""
    return {
        keys.DATASET: dataset,
        "method": chosen.model or model or fallback,
        "method_measured": chosen.model,
        "method_published": model,
        "chosen_on": way,
        "configuration_measured": chosen.text,
        "configuration_published": configuration(named) if named else "",
        **compared("accuracy_pct", chosen.cells, keys.TEST_ACCURACY, accuracy, TO_PERCENT),
        **compared("f1", chosen.cells, keys.TEST_F1, f1),
    }


def _printed(table: int, study: str, dataset: str) -> dict[str, str | int | float | bool]:
    """Return the params of the study's best; none for a data set that it lacks."""
    for number in PUBLISHED.numbers:
        fields = number.fields
        is_svm = fields.get(keys.MODEL) == "svm"
        if (number.table, fields.get(keys.DATASET), is_svm) == (table, dataset, study == SVM_GRID):
            return dict(fields)
    return {}


def _spread(selection: Selection) -> bool:
    cells = selection.of(RESNET_GRID) + selection.of(SVM_GRID)
    by_dataset = grouped(cells, lambda cell: cell.params.get(keys.DATASET))
    return any(repeated(by_configuration(of_dataset)) for of_dataset in by_dataset.values())


def _datasets(selection: Selection) -> list[str]:
    """Return the study's data sets, then others in the order of the cells."""
    printed = [str(dataset) for (dataset,) in PUBLISHED.rows(7, keys.DATASET)]
    cells = selection.of(RESNET_GRID) + selection.of(SVM_GRID)
    found = [str(c.params[keys.DATASET]) for c in cells if keys.DATASET in c.params]
    return list(dict.fromkeys([*printed, *found]))


def _points(svm: Value, resnet: Value) -> Value:
    """Return the points from SVM to network, or the word for a missing value."""
    if isinstance(resnet, str):
        return resnet
    return svm if isinstance(svm, str) else resnet - svm


def gain(evidence: Evidence, dataset: str) -> Difference | None:
    """Compare the best network with the best SVM, in points: table 7's improvement.

    Both are chosen on validation; all their seeds count.
    """
    network, svm = best_of_both(evidence.selection, dataset)
    return difference(evidence.selection, network.cells, svm.cells)


def best_of_both(
    selection: Selection, dataset: str, metric: str = keys.VAL_ACCURACY
) -> tuple[Champion, Champion]:
    """Return the best network and the best SVM of a data set."""
    return (
        champion(selection, RESNET_GRID, dataset, metric),
        champion(selection, SVM_GRID, dataset, metric),
    )


def _improvement_place(number: Number) -> Place:
    dataset, svm = str(number.fields[keys.DATASET]), _is_svm(number)
    return Place(
        # The best model here need not be that of the study.
        {keys.DATASET: dataset, "method": lambda method: (method == "SVM") is svm, **_VALIDATION},
        _QUANTITIES[number.metric],
        SVM_GRID if svm else RESNET_GRID,
        on_test=_ON_TEST,
        compare=(lambda evidence: gain(evidence, dataset))
        if number.metric == published.IMPROVEMENT
        else None,
    )


def _best_place(number: Number) -> Place:
    study = SVM_GRID if _is_svm(number) else RESNET_GRID
    task = f"{number.fields[keys.DATASET]} ({_METHODS[study]})"
    return Place({"task": task, **_VALIDATION}, _QUANTITIES[number.metric], study, _ON_TEST)


def _is_svm(number: Number) -> bool:
    return number.fields.get(keys.MODEL) == "svm"


IMPROVEMENT = BuiltTable(7, improvement_table, _improvement_place)
BEST = BuiltTable(11, best_table, _best_place)
