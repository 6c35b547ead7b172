"""The best models of the tracked runs, fitted again, registered, and one of them made champion.

Of each data set the best finished run of each method, network and support vector machine, is found
by validation accuracy (`candidates`). Runs keep no weights, 45 MB a cell; a fit is deterministic,
so the best is fitted again from its spec, and its test predictions are compared with the logged
ones (`refit`). It becomes a version of the data set's registered model; the better of the two, by
validation, is the contender, which is `champion` if there was none or if it beats the old one by
more than chance, else `challenger` (`promotion`).
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
