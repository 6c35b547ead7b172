"""Fit what a user's function makes: anything that has `fit` and `predict`, as scikit-learn's."""

import inspect
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.data import Images, split_of
from mnist_ops.fitting.determinism import THREADS, reproducible
from mnist_ops.study.model import with_code
from mnist_ops.study.results import FitResult, scores
from mnist_ops.study.specs import EstimatorSpec

if TYPE_CHECKING:
    from mnist_ops.fitting.methods import Work

# The arguments by which such functions take a seed.
_SEEDS = ("seed", "random_state")


@reproducible(THREADS)
def fit(cells: Sequence[EstimatorSpec], images: Images, work: "Work") -> None:
    """Fit each of `cells` to pixels from 0 to 1, float32, shape (n, features).

    Raises:
        InvalidInput: what the function makes cannot be fitted, or predicts no classes.
        OtherCode: the function is not here as the spec has it.
    """
    for cell in cells:
        work.on_result(cell, _fitted(cell, images))


def cost(cell: EstimatorSpec) -> float:
    """Return 1: nothing is known of what a fit takes."""
    return 1.0


def made(cell: EstimatorSpec) -> Any:
    """Return what the function of `cell` makes; raises as `fit`."""
    build = with_code(cell.model, cell.code).build
    taken = inspect.signature(build).parameters
    seed = {name: cell.seed for name in _SEEDS if name in taken}
    try:
        estimator = build(**dict(cell.arguments), **seed)
    except Exception as error:
        raise InvalidInput(f"{cell.name}: {_reason(error)}") from error
    for name in ("fit", "predict"):
        if not callable(getattr(estimator, name, None)):
            raise InvalidInput(
                f"{cell.model} makes {type(estimator).__name__}, which has no method {name}: "
                "estimators have fit(images, labels) and predict(images)"
            )
    return estimator


def _fitted(cell: EstimatorSpec, images: Images) -> FitResult:
    parts = split_of(cell, images)
    estimator = made(cell)

    def part(index: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        pixels = images.images[index].reshape(len(index), -1).astype(np.float32)
        pixels /= 255
        return pixels, images.labels[index]

    def predict(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
        found = np.asarray(estimator.predict(pixels))
        known = len(images.class_names)
        whole = found.shape == (len(pixels),) and bool(np.all(found == found.astype(np.int64)))
        if not whole or found.min() < 0 or found.max() >= known:
            raise InvalidInput(
                f"{cell.model}: predict gives no class of 0 to {known - 1} for each image"
            )
        return found.astype(np.uint8)

    try:
        start = time.perf_counter()
        estimator.fit(*part(parts.train))
        train_s = time.perf_counter() - start
        val, val_labels = part(parts.val)
        right = predict(val) == val_labels
        test, labels = part(parts.test)
        start = time.perf_counter()
        predicted = predict(test)
        predict_s = time.perf_counter() - start
    except MnistOpsError:
        raise
    except Exception as error:
        raise InvalidInput(f"{cell.name}: {_reason(error)}") from error
    return FitResult(
        predictions=predicted,
        labels=labels.astype(np.uint8),
        test_index=parts.test.astype(np.int32),
        n_train=len(parts.train),
        n_val=len(parts.val),
        metrics=scores(labels.astype(np.uint8), predicted)
        | {
            keys.VAL_ACCURACY: float(right.mean()),
            keys.TRAIN_TIME_S: train_s,
            keys.PREDICT_TIME_S: predict_s,
            keys.IMAGES_PER_SECOND: len(parts.train) / train_s,
        },
    )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
