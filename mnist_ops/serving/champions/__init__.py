"""Fit the best runs again, register their models, and choose the champion of each data set.

For each data set and method, the best finished run is chosen by validation accuracy (`best_run`).
Runs have no weights, which would be 45 MB per cell. Fits are deterministic, so the best run is
fitted again from its spec, and its test predictions are compared with the logged ones (`refit`).
The model becomes a version of the data set's registered model. The best version by validation is
the contender: it becomes `champion` if there is none or if it is significantly better, else
`challenger` (`promotion`).
"""

from mnist_ops.serving.champions.promotion import Verdict
from mnist_ops.serving.champions.refit import RefitDiffers
from mnist_ops.serving.champions.registration import NoCandidates, Registered, Report, register_best

__all__ = [
    "NoCandidates",
    "RefitDiffers",
    "Registered",
    "Report",
    "Verdict",
    "register_best",
]
