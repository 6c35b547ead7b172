"""Table 10: the complexity of the networks, as logged by their runs."""

from mnist_ops.compare import published
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.paper import BuiltTable
from mnist_ops.compare.published import Number, Published
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.grid import quotient
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.compare.tables.measure import (
    absence,
    compared_columns,
    difference,
    models_of,
    values_of,
)
from mnist_ops.compare.tables.place import Place
from mnist_ops.compare.tables.table import MILLIONS, RATIO, Column, Table, Value, build
from mnist_ops.core import keys

from ..printed import PUBLISHED
from ..studies import DEVICE_COMPARE, RESNET_GRID

# The network to which complexities are relative.
_REFERENCE = "resnet18"
_PER_MILLION = 1e-6


def complexity_table(selection: Selection, printed: Published) -> Table:
    """Build table 10: parameters and FLOPs in millions, the latter in both conventions."""
    cells = selection.of(RESNET_GRID) + selection.of(DEVICE_COMPARE)
    reference = _logged(cells, _REFERENCE, keys.FLOPS)
    columns = [
        Column(keys.MODEL, "Model", is_key=True),
        *compared_columns("parameters_millions", "Parameters", MILLIONS, spread=False),
        *compared_columns("flops_millions", "FLOPs", MILLIONS, spread=False),
        *compared_columns("relative_complexity", "Relative Complexity", RATIO, spread=False),
        Column("flops_fvcore_millions", "FLOPs, fvcore's own count", kind=MILLIONS),
    ]
    rows, notes = [], []
    for model in models_of(printed, 10, cells):
        flops = _logged(cells, model, keys.FLOPS)
        parameters = _logged(cells, model, keys.PARAMETERS)
        relative = _relative(flops, reference)
        row: dict[str, Value] = {
            keys.MODEL: model_label(model),
            "flops_fvcore_millions": _millions(_logged(cells, model, keys.FLOPS_FVCORE)),
        }
        for name, measured, value in (
            ("parameters_millions", _millions(parameters), _printed(published.PARAMETERS, model)),
            ("flops_millions", _millions(flops), _printed(published.FLOPS, model)),
            ("relative_complexity", relative, _printed(published.RELATIVE_COMPLEXITY, model)),
        ):
            row[f"{name}_measured"] = measured
            row[f"{name}_published"] = value
            row[f"{name}_difference"] = difference(measured, value)
        rows.append(row)
        if not isinstance(parameters, str) and not isinstance(flops, str):
            notes.append(f"{model_label(model)}: {parameters:,.0f} parameters, {flops:,.0f} FLOPs.")
    notes.append(
        "FLOPs are for one image of 1x28x28. The study's count is that of multiply-accumulates "
        "with batch norm at 4 operations a normalised element; fvcore's own takes 2."
    )
    return build(10, "Model Complexity (FLOPs)", columns, rows, notes)


def _logged(cells: list[Cell], model: str, metric: str) -> Value:
    """Return the count that most of the model's runs logged."""
    of_model = [cell for cell in cells if cell.params.get(keys.MODEL) == model]
    counts = values_of(of_model, metric)
    return max(sorted(set(counts)), key=counts.count) if counts else absence(of_model)


def _relative(flops: Value, reference: Value) -> Value:
    return flops if isinstance(flops, str) else quotient(flops, reference)


def _millions(count: Value) -> Value:
    return count if isinstance(count, str) else count * _PER_MILLION


def _printed(metric: str, model: str) -> Value:
    value = PUBLISHED.value(10, metric, model=model)
    return value if metric == published.RELATIVE_COMPLEXITY else _millions(value)


def _place(number: Number) -> Place:
    model = {keys.MODEL: model_label(str(number.fields[keys.MODEL]))}
    return Place(model, _QUANTITIES[number.metric], RESNET_GRID)


_QUANTITIES = {
    published.PARAMETERS: "parameters_millions",
    published.FLOPS: "flops_millions",
    published.RELATIVE_COMPLEXITY: "relative_complexity",
}
COMPLEXITY = BuiltTable(10, complexity_table, _place)
