"""Results of fits, the same for every method."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_ops.core import keys


@dataclass(frozen=True)
class EpochResult:
    """Result of an epoch.

    Attributes:
        number: from 1.
        train_loss: mean cross entropy of the images during the epoch.
        val_accuracy: accuracy on the validation images after the epoch, 0 to 1.
        train_time_s: seconds of training up to the end of the epoch, without evaluation.
    """

    number: int
    train_loss: float
    val_accuracy: float
    train_time_s: float

    @property
    def metrics(self) -> dict[str, float]:
        """The result as metrics of a run."""
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
        test_index: int32, shape (n_test,): position of each among the pooled images.
        n_train: number of training images.
        n_val: number of validation images.
        metrics: final metrics by name (see `mnist_ops.core.keys`).
        state: the fitted model if requested: the state dict of a network on the CPU, or the
            scikit-learn estimator of an SVM.
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
    """Return accuracy, weighted F1 and macro F1 on the test images, each 0 to 1.

    The F1 of a class that was never predicted is 0.
    """
    # Imported here, since it takes a second that reading results does not need.
    from sklearn.metrics import accuracy_score, f1_score

    return {
        keys.TEST_ACCURACY: float(accuracy_score(labels, predictions)),
        keys.TEST_F1: float(f1_score(labels, predictions, average="weighted", zero_division=0)),
        keys.TEST_F1_MACRO: float(f1_score(labels, predictions, average="macro", zero_division=0)),
    }
