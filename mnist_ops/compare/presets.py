"""The data sets and sizes of the published study, these by the family of a cell's spec."""

from mnist_ops.compare.cells import RESNET_GRID, SVM_GRID
from mnist_ops.study import lookup
from mnist_ops.study.grids import Study

STUDIES: dict[str, Study] = {
    "resnet": lookup.find("studies", RESNET_GRID),
    "svm": lookup.find("studies", SVM_GRID),
}
DATASETS = tuple(lookup.ours("datasets"))
PRESETS = tuple(STUDIES["resnet"].presets)
