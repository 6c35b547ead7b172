"""Table 1: the configuration of the runs, beside that of the study."""

from mnist_ops.compare.cells import IDENTITY, Cell
from mnist_ops.compare.paper import BuiltTable
from mnist_ops.compare.published import Number, Published
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.compare.tables.measure import absence, grouped
from mnist_ops.compare.tables.place import Place
from mnist_ops.compare.tables.table import Column, Table, build
from mnist_ops.core import keys

from ..studies import RESNET_GRID, SVM_GRID

# The study pools the training and the test images of a data set.
POOL = 70_000

PRINTED = {
    "Data Split": "70% Train / 10% Validation / 20% Test",
    "Models": "ResNet-18 (11.18M params), ResNet-50 (23.52M params)",
    "Pretrained": "False",
    "Mixed Precision (AMP)": "True",
    "Batch Sizes": "16, 32",
    "Optimizers": "SGD, Adam",
    "Learning Rates": "0.001, 0.0001",
    "Epochs": "2, 5",
    "pin_memory": "True, False",
}

_COLUMNS = (
    Column("parameter", "Parameter", is_key=True),
    Column("measured", "these runs"),
    Column("published", "published"),
    Column("difference", "difference", is_difference=True),
)


def configuration_table(selection: Selection, printed: Published) -> Table:
    """Build table 1 from the cells that ran, with further rows after those of the study.

    The difference is ``same`` or ``differs``; the order of lists does not matter.
    """
    resnets, svms = selection.of(RESNET_GRID), selection.of(SVM_GRID)
    ran_resnets = [cell for cell in resnets if cell.finished]
    ran_svms = [cell for cell in svms if cell.finished]
    # A network is always built with fresh weights: the runs have no param for it.
    of_resnets = {
        "Data Split": _split(ran_resnets),
        "Models": _models(ran_resnets),
        "Pretrained": "False" if ran_resnets else "",
        "Mixed Precision (AMP)": _axis(ran_resnets, keys.AMP),
        "Batch Sizes": _axis(ran_resnets, keys.BATCH_SIZE),
        "Optimizers": _axis(ran_resnets, keys.OPTIMIZER),
        "Learning Rates": _axis(ran_resnets, keys.LEARNING_RATE),
        "Epochs": _axis(ran_resnets, keys.EPOCHS),
        "pin_memory": _axis(ran_resnets, keys.PIN_MEMORY),
        "Precision": _axis(ran_resnets, keys.PRECISION),
        "Seeds": _seeds(ran_resnets),
        "Device": _axis(ran_resnets, keys.DEVICE),
    }
    of_svms = {
        "SVM Data Split": _split(ran_svms),
        "SVM Kernels": _axis(ran_svms, keys.KERNEL),
        "SVM C": _axis(ran_svms, keys.C),
        "SVM Gamma": _axis(ran_svms, keys.GAMMA),
        "SVM Seeds": _seeds(ran_svms),
    }
    rows = [
        {
            "parameter": parameter,
            "measured": text or absence(cells),
            "published": PRINTED.get(parameter, ""),
            "difference": _verdict(text, PRINTED.get(parameter, "")),
        }
        for texts, cells in ((of_resnets, resnets), (of_svms, svms))
        for parameter, text in texts.items()
    ]
    notes = ("An empty published value: the study's table does not say.",)
    return build(1, "Experimental Configuration", _COLUMNS, rows, notes)


def _axis(cells: list[Cell], name: str) -> str:
    """Return the values of a param, in the order of the grid."""
    return ", ".join(dict.fromkeys(str(c.params[name]) for c in cells if name in c.params))


def _seeds(cells: list[Cell]) -> str:
    """Return the seeds, with those apart that not every cell has."""
    names = [name for name in IDENTITY if name != keys.SEED]
    known = [cell for cell in cells if keys.SEED in cell.params]
    configurations = grouped(known, lambda cell: cell.key(*names)).values()
    seeds = [{int(c.params[keys.SEED]) for c in alike} for alike in configurations]
    if not seeds:
        return ""
    common = set.intersection(*seeds)
    others = set.union(*seeds) - common
    parts = [_listed(common), f"in some cells {_listed(others)}" if others else ""]
    return "; ".join(part for part in parts if part)


def _listed(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _models(cells: list[Cell]) -> str:
    texts = (
        f"{model_label(str(c.params[keys.MODEL]))} ({c.metrics[keys.PARAMETERS] / 1e6:.2f}M params)"
        for c in cells
        if keys.MODEL in c.params and keys.PARAMETERS in c.metrics
    )
    return ", ".join(dict.fromkeys(texts))


def _split(cells: list[Cell]) -> str:
    """Return shares of the pooled images, or counts if the runs used fewer."""
    sizes = dict.fromkeys(cell.key(keys.N_TRAIN, keys.N_VAL, keys.N_TEST) for cell in cells)
    texts = []
    for size in sizes:
        if None in size:
            continue
        if sum(size) == POOL:
            train, val, test = (f"{n / POOL:.0%}" for n in size)
            texts.append(f"{train} Train / {val} Validation / {test} Test")
        else:
            train, val, test = (f"{n:,}" for n in size)
            texts.append(f"{train} Train / {val} Validation / {test} Test images")
    return "; ".join(texts)


def _verdict(measured: str, published: str) -> str:
    if not measured or not published:
        return ""
    same = set(measured.split(", ")) == set(published.split(", "))
    return "same" if same else "differs"


def _place(number: Number) -> Place:
    raise LookupError(f"table 1 has no numbers: {number}")


CONFIGURATION = BuiltTable(1, configuration_table, _place)
