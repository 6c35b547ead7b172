"""What a fit gives back, the same for every method."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_ops.core import keys


@dataclass(frozen=True)
class EpochResult:
    """One pass over the training images.

    Attributes:
        number: from 1.
        train_loss: mean cross entropy over the epoch's images, while the weights changed.
        val_accuracy: share of validation images classified right after the epoch, 0 to 1.
        train_time_s: seconds of training up to the end of this epoch, evaluation left out.
    """

    number: int
    train_loss: float
    val_accuracy: float
    train_time_s: float

    @property
    def metrics(self) -> dict[str, float]:
        """The epoch as metrics, under the names that runs carry."""
        return {
            keys.TRAIN_LOSS: self.train_loss,
            keys.VAL_ACCURACY: self.val_accuracy,
            keys.TRAIN_TIME_S: self.train_time_s,
        }


OnEpoch = Callable[[EpochResult], None]


@dataclass(frozen=True)
class FitResult:
    """A finished fit.

    Attributes:
        predictions: uint8, shape (n_test,): the predicted class of each test image.
        labels: uint8, shape (n_test,): the true class.
        test_index: int32, shape (n_test,): which of the pooled images each test image is.
        n_train: training images used.
        n_val: validation images used.
        metrics: final metrics by name (see `mnist_ops.core.keys`).
        state: the fitted model, where it was asked for: of a network the stock state dict on the
            CPU, of support vector machines the scikit-learn estimator.
    """

    predictions: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    test_index: NDArray[np.int32]
    n_train: int
    n_val: int
    metrics: dict[str, float]
    state: Any = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of a model for its test images.

    Attributes:
        predicted: uint8, shape (n_test,).
        label: uint8, shape (n_test,): the true classes.
        index: int32, shape (n_test,): position of each among the pooled images.
    """

    predicted: NDArray[np.uint8]
    label: NDArray[np.uint8]
    index: NDArray[np.int32]


OnResult = Callable[[int, FitResult], None]


def scores(labels: NDArray[np.uint8], predictions: NDArray[np.uint8]) -> dict[str, float]:
    """Accuracy, weighted F1 and macro F1 on the test images, each 0 to 1.

    Both F1 scores count a class that was never predicted as 0.
    """
    # It takes a second, for which those that only read results need not wait.
    from sklearn.metrics import accuracy_score, f1_score

    return {
        keys.TEST_ACCURACY: float(accuracy_score(labels, predictions)),
        keys.TEST_F1: float(f1_score(labels, predictions, average="weighted", zero_division=0)),
        keys.TEST_F1_MACRO: float(f1_score(labels, predictions, average="macro", zero_division=0)),
    }
