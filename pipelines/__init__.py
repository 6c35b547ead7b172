"""The studies of this project, one per file."""

from .device_compare import STUDY as DEVICE_COMPARE
from .resnet_grid import STUDY as RESNET_GRID
from .svm_grid import STUDY as SVM_GRID

STUDIES = {study.name: study for study in (RESNET_GRID, SVM_GRID, DEVICE_COMPARE)}
