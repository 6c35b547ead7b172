"""What a study is: specs, grids, results; and what a user's study is written with."""

from mnist_ops.study.dataset import Content, OwnData
from mnist_ops.study.grids import Limits, Preset, Study
from mnist_ops.study.specs import EstimatorSpec, SvmSpec
from mnist_ops.study.specs import ResNetSpec as NetworkSpec

__all__ = [
    "Content",
    "EstimatorSpec",
    "Limits",
    "NetworkSpec",
    "OwnData",
    "Preset",
    "Study",
    "SvmSpec",
]
