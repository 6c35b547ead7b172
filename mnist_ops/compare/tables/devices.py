"""Tables 8 and 9: the same trainings on a CPU and on a CUDA device."""

from mnist_ops.compare import published
from mnist_ops.compare.cells import DEVICE_COMPARE
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.compare.tables.measure import (
    TO_PERCENT,
    compared,
    compared_columns,
    difference,
    grouped,
    key_columns,
    key_values,
    mean,
    models_of,
    printed_value,
    repeated,
    row_keys,
)
from mnist_ops.compare.tables.table import PERCENT, RATIO, SECONDS, Table, Value, build
from mnist_ops.core import keys

_BY_DEVICE = {
    keys.DEVICE: "Device",
    keys.BATCH_SIZE: "Batch Size",
    keys.OPTIMIZER: "Optimizer",
    keys.LEARNING_RATE: "Learning Rate",
    keys.EPOCHS: "Epochs",
}
_BY_MODEL = {
    keys.MODEL: "Model",
    keys.OPTIMIZER: "Optimizer",
    keys.BATCH_SIZE: "Batch Size",
    keys.LEARNING_RATE: "Learning Rate",
    keys.EPOCHS: "Epochs",
}
_EPOCHS_NOTE = "The study does not say how long it trained; its accuracies fit 2 epochs."


def device_table(selection: Selection) -> Table:
    """Table 8: accuracy and training time, a row a device and optimizer, columns by model."""
    cells = selection.of(DEVICE_COMPARE)
    by_row = grouped(cells, lambda cell: (*cell.key(*_BY_DEVICE), cell.variant))
    row_order = row_keys(8, _BY_DEVICE, by_row)
    models = models_of(8, cells)
    by_repeat = grouped(cells, lambda cell: (*cell.key(keys.MODEL, *_BY_DEVICE), cell.variant))
    spread = repeated(by_repeat.values())
    columns = key_columns(_BY_DEVICE, row_order)
    for quantity, label, kind in (
        ("accuracy_pct", "accuracy (%)", PERCENT),
        ("train_time_s", "time (s)", SECONDS),
    ):
        for model in models:
            columns += compared_columns(
                f"{model}_{quantity}", f"{model_label(model)} {label}", kind, spread=spread
            )
    rows = []
    for key in row_order:
        row = key_values(_BY_DEVICE, key)
        row[keys.DEVICE] = str(row[keys.DEVICE]).upper()
        for model in models:
            of_model = [c for c in by_row.get(key, []) if c.params.get(keys.MODEL) == model]
            for quantity, metric, printed, scale in (
                ("accuracy_pct", keys.TEST_ACCURACY, published.ACCURACY, TO_PERCENT),
                ("train_time_s", keys.TRAIN_TIME_S, published.TRAIN_TIME_S, 1),
            ):
                value = printed_value(8, printed, _BY_DEVICE, key, model=model)
                row |= compared(f"{model}_{quantity}", of_model, metric, value, scale)
        rows.append(row)
    return build(8, "CPU vs GPU Training Comparison on FashionMNIST", columns, rows, [_EPOCHS_NOTE])


def speedup_table(selection: Selection) -> Table:
    """Table 9: training time on the CPU over that on the CUDA device, means over seeds."""
    cells = selection.of(DEVICE_COMPARE)
    by_row = grouped(cells, lambda cell: (*cell.key(*_BY_MODEL), cell.variant))
    row_order = row_keys(9, _BY_MODEL, by_row)
    columns = [
        *key_columns(_BY_MODEL, row_order),
        *compared_columns("cpu_time_s", "CPU Time (s)", SECONDS, spread=False),
        *compared_columns("gpu_time_s", "GPU Time (s)", SECONDS, spread=False),
        *compared_columns("speedup", "Speedup", RATIO, spread=False),
    ]
    rows = []
    for key in row_order:
        row = key_values(_BY_MODEL, key)
        row[keys.MODEL] = model_label(str(row[keys.MODEL]))
        times: list[Value] = []
        for device, name in (("cpu", "cpu_time_s"), ("cuda", "gpu_time_s")):
            there = [c for c in by_row.get(key, []) if c.params.get(keys.DEVICE) == device]
            value = printed_value(9, published.TRAIN_TIME_S, _BY_MODEL, key, device=device)
            row |= compared(name, there, keys.TRAIN_TIME_S, value)
            times.append(mean(there, keys.TRAIN_TIME_S))
        speedup = _ratio(*times)
        printed = printed_value(9, published.SPEEDUP, _BY_MODEL, key)
        row |= {
            "speedup_measured": speedup,
            "speedup_published": printed,
            "speedup_difference": difference(speedup, printed),
        }
        rows.append(row)
    return build(9, "GPU Speedup Over CPU", columns, rows, [_EPOCHS_NOTE])


def _ratio(cpu: Value, gpu: Value) -> Value:
    """CPU time over GPU time; of a missing one the word for it, the GPU's if both are."""
    if isinstance(gpu, str):
        return gpu
    if isinstance(cpu, str):
        return cpu
    return cpu / gpu if gpu > 0 else "missing"
