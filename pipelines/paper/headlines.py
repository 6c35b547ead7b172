"""The answers to the study's three questions, in a line each."""

from mnist_ops.compare import statistics
from mnist_ops.compare.findings.contrast import as_ratio, mean_test
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.headlines import Headline, with_interval
from mnist_ops.compare.over_seeds import accuracy_interval
from mnist_ops.compare.tables.champion import by_configuration
from mnist_ops.compare.tables.labels import configuration, model_label
from mnist_ops.compare.tables.measure import TO_PERCENT, best, values_of
from mnist_ops.core import keys

from .findings.devices import speedups
from .studies import DATASETS, RESNET_GRID, SVM_GRID
from .tables.best import gain


def headlines(evidence: Evidence) -> list[Headline]:
    """Return the best model of each data set, its lead over the SVMs, and the speed-up of the GPU.

    Each has its 95% interval, or the reason why it was not measured.
    """
    return [
        *(Headline(f"Best on {name}, by validation", _best(evidence, name)) for name in DATASETS),
        *(Headline(f"Networks over SVMs on {name}", _gap(evidence, name)) for name in DATASETS),
        Headline("GPU over CPU", _speedup(evidence)),
    ]


def _best(evidence: Evidence, dataset: str) -> str:
    cells = evidence.cells(RESNET_GRID, SVM_GRID, dataset=dataset)
    chosen = best(by_configuration(cells), keys.VAL_ACCURACY)
    if chosen is None:
        return "not measured"
    params = chosen[0].params
    accuracy = statistics.mean_interval(values_of(chosen, keys.TEST_ACCURACY, TO_PERCENT)).mean
    found = with_interval(accuracy, accuracy_interval(evidence.selection, chosen), "%")
    return f"{model_label(str(params.get(keys.MODEL)))}, {configuration(params)}: {found}"


def _gap(evidence: Evidence, dataset: str) -> str:
    found = gain(evidence, dataset)
    if found is None:
        return "not measured"
    test = found.comparison
    return with_interval(test.effect, test.interval, " points", sign="+")


def _speedup(evidence: Evidence) -> str:
    pairs = speedups(evidence)
    if not pairs.blocks:
        return f"not measured: needs {pairs.needed}"
    test = mean_test(pairs)
    interval = test.interval and (as_ratio(test.interval[0]), as_ratio(test.interval[1]))
    return with_interval(as_ratio(test.effect), interval, "\N{MULTIPLICATION SIGN}")
