"""The sizes at which the published study is run."""

from mnist_ops.study.grids import Limits, Preset

_FIVE_SEEDS = (0, 1, 2, 3, 4)

RESNET = {
    "quick": Preset(seeds=(0,), limits=Limits(train=256, test=512)),
    "paper": Preset(seeds=(0,), limits=Limits()),
    "rigorous": Preset(seeds=_FIVE_SEEDS, limits=Limits()),
}
SVM = {
    "quick": Preset(seeds=(0,), limits=Limits(train=512, test=512)),
    "paper": Preset(seeds=(0,), limits=Limits(train=10_000, test=2_000)),
    "rigorous": Preset(seeds=_FIVE_SEEDS, limits=Limits()),
}
