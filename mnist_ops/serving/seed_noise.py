"""By how many points two trainings of a cell differ that have nothing but their seed apart."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from mlflow.entities import Run
from scipy import stats

from mnist_ops.compare.seed_noise import FAMILY, pool
from mnist_ops.compare.statistics import ALPHA
from mnist_ops.core import keys
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.serving import registry
from mnist_ops.study.specs import Spec


@dataclass(frozen=True)
class Noise:
    """The largest difference of two accuracies that seeds explain.

    Attributes:
        bound: 0 to 1.
        basis: what it is known from.
    """

    bound: float
    basis: str


class SeedNoise:
    """The spread of accuracies over seeds, from finished runs."""

    def __init__(self, runs: Iterable[Run]):
        """Read the `runs`, finished and one a cell; those without a known spec tell nothing."""
        self._accuracies: dict[Spec, dict[int, float]] = defaultdict(dict)
        for run in runs:
            with suppress(MnistOpsError):
                spec = registry.recorded_spec(run)
                configuration = dataclasses.replace(spec, seed=0)
                self._accuracies[configuration][spec.seed] = run.data.metrics[keys.TEST_ACCURACY]

    def between(self, spec: Spec, accuracy: float, n_test: int, comparisons: int = 1) -> Noise:
        """Return the noise of a cell's accuracy.

        The deviation is that of configurations with the cell's model, data set and size, pooled as
        for claims (`compare.seed_noise.pool`); where none has several seeds, the chance in the test
        images is all that is known.

        Args:
            spec: of the cell.
            accuracy: 0 to 1.
            n_test: test images.
            comparisons: number of cells that are compared: all are within their bounds in 95% of
                cases where nothing but seeds is apart (Bonferroni).
        """
        tail = 1 - ALPHA / comparisons / 2
        family = _family(spec)
        known = pool([v for other, v in self._accuracies.items() if _family(other) == family])
        if known:
            basis = f"from {known.seeds} seeds of {known.configurations} configurations like it"
            reach = float(stats.t.ppf(tail, known.degrees))
            return Noise(reach * known.deviation * math.sqrt(2), basis)
        deviation = math.sqrt(2 * accuracy * (1 - accuracy) / n_test)
        return Noise(float(stats.norm.ppf(tail)) * deviation, "from the test images alone")


def _family(spec: Spec) -> tuple[object, ...]:
    params = spec.params
    sizes = (spec.family, spec.train_limit, spec.test_limit)
    return (*sizes, *(params.get(name) for name in FAMILY))
