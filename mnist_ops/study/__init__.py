"""What a study is: specs, grids, results; and what a user's study is written with."""

from mnist_ops.study.dataset import Content, OwnData
from mnist_ops.study.grids import Limits, Preset, Study
from mnist_ops.study.paper import Better, Equal, OwnPaper
from mnist_ops.study.specs import EstimatorSpec, SvmSpec
from mnist_ops.study.specs import ResNetSpec as NetworkSpec

__all__ = [
    "Better",
    "Content",
    "Equal",
    "EstimatorSpec",
    "Limits",
    "NetworkSpec",
    "OwnData",
    "OwnPaper",
    "Preset",
    "Study",
    "SvmSpec",
]
