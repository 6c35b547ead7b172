"""The studies whose runs the paper is compared with, by name."""

from .. import STUDIES as _ALL

STUDIES = tuple(_ALL[name] for name in ("resnet_grid", "svm_grid", "device_compare"))
RESNET_GRID, SVM_GRID, DEVICE_COMPARE = (study.name for study in STUDIES)
DATASETS: tuple[str, ...] = STUDIES[0].grid["dataset"]
# The preset with the sizes of the paper.
PRESET = "paper"
