"""The paper's eleven tables, measured beside published."""

from mnist_ops.compare.paper import PaperTable
from mnist_ops.compare.published import ACCURACY, F1, SPEEDUP, TRAIN_TIME_S
from mnist_ops.compare.tables.grid import GridTable, Measure, Ratio
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.compare.tables.measure import TO_PERCENT
from mnist_ops.compare.tables.table import F1 as F1_KIND
from mnist_ops.compare.tables.table import PERCENT, RATIO, SECONDS
from mnist_ops.core import keys

from ..studies import DATASETS, DEVICE_COMPARE, RESNET_GRID, SVM_GRID
from .best import BEST, IMPROVEMENT
from .complexity import COMPLEXITY
from .configuration import CONFIGURATION


def _accuracy(label: str) -> Measure:
    return Measure("accuracy_pct", label, PERCENT, keys.TEST_ACCURACY, ACCURACY, TO_PERCENT)


def _time(label: str, name: str = "train_time_s", **where: str) -> Measure:
    return Measure(name, label, SECONDS, keys.TRAIN_TIME_S, TRAIN_TIME_S, where=where)


_ROWS = {
    keys.BATCH_SIZE: "Batch Size",
    keys.OPTIMIZER: "Optimizer",
    keys.LEARNING_RATE: "Learning Rate",
    keys.EPOCHS: "Epochs",
}
_EPOCHS_NOTE = "The study does not say how long it trained; its accuracies fit 2 epochs."
# The study does not say so, but scikit-learn, whose classifiers it used, fits by libsvm.
_OTHER_SOLVER = "not comparable: another solver than the study's"
_NETWORKS_NOTE = (
    "Networks are trained without the weights that never learn at 28x28, unless --plain: their "
    "times are not comparable with the published ones."
)
_OTHER_NETWORKS = "not comparable: trained without the weights that never learn"
_CPU = _time("CPU Time (s)", "cpu_time_s", device="cpu")
_GPU = _time("GPU Time (s)", "gpu_time_s", device="cuda")


def _networks(number: int, dataset: str) -> GridTable:
    return GridTable(
        number,
        f"{dataset} Test Classification Accuracy (%)",
        RESNET_GRID,
        rows=_ROWS,
        measures=(_accuracy("(%)"),),
        where={keys.DATASET: dataset},
        by_model=True,
        chosen=keys.PIN_MEMORY,
        # Shorter trainings are left to table 4.
        longest=keys.EPOCHS,
        notes=(
            "Measured: of the two values of pin_memory the one with the better validation "
            "accuracy (False where they are equal). Best on test: the one with the better test "
            "accuracy, which is the study's own way to choose.",
        ),
    )


def _svms(number: int, dataset: str) -> GridTable:
    return GridTable(
        number,
        f"SVM Results on {dataset} Dataset",
        SVM_GRID,
        rows={keys.KERNEL: "Kernel", keys.C: "C", keys.GAMMA: "Gamma"},
        measures=(
            _accuracy("Test Accuracy (%)"),
            Measure("f1", "F1 Score", F1_KIND, keys.TEST_F1, F1),
            _time("Train Time (s)"),
        ),
        where={keys.DATASET: dataset},
        notes=(
            "F1 is the mean over classes, weighted by their number of test images.",
            "Times are those of this project's own solver and not of scikit-learn's libsvm: they "
            "are not comparable with the published ones.",
        ),
        other_work=_OTHER_SOLVER,
    )


TABLES: tuple[PaperTable, ...] = (
    CONFIGURATION,
    _networks(2, DATASETS[0]),
    _networks(3, DATASETS[1]),
    GridTable(
        4,
        "Effect of Epochs and Pin Memory (MNIST, ResNet-18, lr=0.001)",
        RESNET_GRID,
        rows={
            keys.BATCH_SIZE: "Batch Size",
            keys.OPTIMIZER: "Optimizer",
            keys.PIN_MEMORY: "pin_memory",
            keys.EPOCHS: "Epochs",
        },
        measures=(_accuracy("Accuracy (%)"),),
        where={keys.DATASET: "MNIST", keys.MODEL: "resnet18", keys.LEARNING_RATE: 0.001},
        in_order=True,
        unprinted=keys.BATCH_SIZE,
    ),
    _svms(5, DATASETS[0]),
    _svms(6, DATASETS[1]),
    IMPROVEMENT,
    GridTable(
        8,
        "CPU vs GPU Training Comparison on FashionMNIST",
        DEVICE_COMPARE,
        rows={keys.DEVICE: "Device", **_ROWS},
        measures=(_accuracy("accuracy (%)"), _time("time (s)")),
        by_model=True,
        written={keys.DEVICE: str.upper},
        notes=(_EPOCHS_NOTE, _NETWORKS_NOTE),
        other_work=_OTHER_NETWORKS,
    ),
    GridTable(
        9,
        "GPU Speedup Over CPU",
        DEVICE_COMPARE,
        rows={
            keys.MODEL: "Model",
            keys.OPTIMIZER: "Optimizer",
            keys.BATCH_SIZE: "Batch Size",
            keys.LEARNING_RATE: "Learning Rate",
            keys.EPOCHS: "Epochs",
        },
        measures=(_CPU, _GPU),
        ratios=(Ratio("speedup", "Speedup", RATIO, SPEEDUP, (_CPU, _GPU)),),
        written={keys.MODEL: model_label},
        spread=False,
        notes=(_EPOCHS_NOTE, _NETWORKS_NOTE),
        other_work=_OTHER_NETWORKS,
    ),
    COMPLEXITY,
    BEST,
)
