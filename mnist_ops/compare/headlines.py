"""The answers to the study's three questions, a line each."""

from dataclasses import dataclass

from mnist_ops.compare import statistics
from mnist_ops.compare.cells import RESNET_GRID, SVM_GRID
from mnist_ops.compare.findings.devices import speedups
from mnist_ops.compare.findings.evidence import Evidence, configurations
from mnist_ops.compare.findings.svms import gain
from mnist_ops.compare.presets import DATASETS
from mnist_ops.compare.render import minus
from mnist_ops.compare.statistics import Interval
from mnist_ops.compare.tables.labels import configuration, model_label
from mnist_ops.compare.tables.measure import TO_PERCENT, Group, best, values_of
from mnist_ops.core import keys


@dataclass(frozen=True)
class Headline:
    """A question of the study, and what these runs answer."""

    question: str
    answer: str


def headlines(evidence: Evidence) -> list[Headline]:
    """What is best on each data set, how far the machines are behind, and what a GPU gains.

    Each with its 95% interval, or with the reason why it was not measured.
    """
    return [
        *(Headline(f"Best on {name}, by validation", _best(evidence, name)) for name in DATASETS),
        *(Headline(f"Networks over SVMs on {name}", _gap(evidence, name)) for name in DATASETS),
        Headline("GPU over CPU", _speedup(evidence)),
    ]


def _best(evidence: Evidence, dataset: str) -> str:
    cells = evidence.cells(RESNET_GRID, SVM_GRID, dataset=dataset)
    chosen = best(configurations(cells), keys.VAL_ACCURACY)
    if chosen is None:
        return "not measured"
    params = chosen[0].params
    accuracy = statistics.mean_interval(values_of(chosen, keys.TEST_ACCURACY, TO_PERCENT)).mean
    found = _text(accuracy, _interval(chosen), "%")
    return f"{model_label(str(params.get(keys.MODEL)))}, {configuration(params)}: {found}"


def _gap(evidence: Evidence, dataset: str) -> str:
    test = gain(evidence, dataset)
    if test is None:
        return "not measured"
    return _text(test.effect, test.interval, " points", sign="+")


def _speedup(evidence: Evidence) -> str:
    pairs = speedups(evidence)
    if not pairs.pairs:
        return f"not measured: needs {pairs.needed}"
    test = statistics.paired_ratios(pairs.ratios)
    return _text(test.effect, test.interval, "\N{MULTIPLICATION SIGN}")


def _interval(cells: Group) -> Interval | None:
    """95% interval of the test accuracy of one configuration, in percent.

    Student's t over several seeds, Wilson's for one; None where it is not known on how many
    images.
    """
    values = values_of(cells, keys.TEST_ACCURACY, TO_PERCENT)
    if len(values) > 1:
        return statistics.mean_interval(values).interval
    sizes = [int(cell.params.get(keys.N_TEST, 0)) for cell in cells if cell.finished]
    if not values or not all(sizes):
        return None
    low, high = statistics.wilson(values[0] / TO_PERCENT, sizes[0])
    return low * TO_PERCENT, high * TO_PERCENT


def _text(value: float, interval: Interval | None, unit: str, sign: str = "") -> str:
    low, high = (minus(f"{end:.2f}") for end in interval) if interval else ("", "")
    return minus(f"{value:{sign}.2f}{unit}") + (f" ({low} to {high})" if interval else "")
