"""Fit a cell again from its spec, keeping its weights, and compare it with its run."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from mnist_ops.core import keys
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.data import Images, split_of
from mnist_ops.fitting.determinism import THREADS, reproducible
from mnist_ops.fitting.resnet import feed
from mnist_ops.serving import verify
from mnist_ops.serving.inference import Description, out_of_distribution, scorer
from mnist_ops.serving.inference.out_of_distribution import Detector
from mnist_ops.serving.seed_noise import Noise
from mnist_ops.serving.verify import Agreement
from mnist_ops.study.results import Predictions, scores
from mnist_ops.study.specs import Spec

# Metrics of the fit that are added to those of the model.
_OF_FIT = (keys.VAL_ACCURACY, keys.FLOPS, keys.PARAMETERS)
_SMALLEST_T, _LARGEST_T = 0.01, 100.0


class RefitDiffers(MnistOpsError):
    """A refit is worse than its run by more than seed noise."""


@dataclass(frozen=True, eq=False)
class Refit:
    """A fitted model and its measurements.

    Attributes:
        description: of the model.
        made: the fitted model, in the form of its method.
        detector: of out-of-distribution images.
        test: its predictions for its test images, computed as in inference.
    """

    description: Description
    made: Any
    detector: Detector
    test: Predictions


def refit(
    spec: Spec,
    images: Images,
    on_step: Callable[[], None] = lambda: None,
    instructions: str = "",
) -> Refit:
    """Fit `spec` to `images`, and measure what inference needs.

    The limits of the out-of-distribution check and the temperature come from all images of the
    validation part, even if the cell was limited to fewer, as none was used in training.

    Args:
        spec: of the cell; without a CUDA device, a spec for one is fitted on the CPU.
        images: its pooled data set.
        on_step: called between two steps of a training.
        instructions: the instruction set of the fit; empty is that of this process.

    Raises:
        InvalidInput, TooManyImages, TrainingDiverged: as the fits do.
    """
    spec = verify.here(spec)
    own = split_of(spec, images)
    whole = split_of(dataclasses.replace(spec, train_limit=0, test_limit=0), images)
    mean, std = feed.mean_and_std(images.images[own.train])
    fitted = verify.compute(spec, images, on_step, keep_model=True, instructions=instructions)
    of_fit = {name: fitted.metrics[name] for name in _OF_FIT if name in fitted.metrics}
    with reproducible(THREADS):
        model = scorer(spec, fitted.state, mean, std)
        test_images, labels = _part(images, own.test)
        predicted, _ = model.predict(test_images)
        val_images, val_labels = _part(images, whole.val)
        _, val_scores = model.predict(val_images)
    description = Description(
        spec=spec,
        dataset_digest=images.digest,
        class_names=images.class_names,
        mean=mean,
        std=std,
        temperature=temperature(val_scores, val_labels),
        metrics=scores(labels, predicted) | of_fit,
        image_shape=spec.data.image_shape,
    )
    detector = out_of_distribution.fit(_part(images, whole.train)[0], val_images, val_scores)
    test = Predictions(predicted, labels, own.test.astype(np.int32))
    return Refit(description, fitted.state, detector, test)


def agreement(
    test: Predictions, logged: Predictions | None, noise: Callable[[float, int], Noise]
) -> Agreement:
    """Compare a refit's test predictions with those that its run logged.

    `noise` is as for `verify.agreement`.

    Raises:
        RefitDiffers: the refit is less accurate by more than seed noise.
    """
    found = verify.agreement(test.predicted, test.label, test.index, logged, noise)
    if found.verdict == verify.DIFFERS and found.effect < 0 and found.noise is not None:
        raise RefitDiffers(
            f"the refit has {-found.effect:.2%} less test accuracy than its run, more than seed "
            f"noise ({found.noise.bound:.2%}): it is not registered; do so on a machine like the "
            "one that the run is from"
        )
    return found


def temperature(scores_: NDArray[np.float64], labels: NDArray[np.uint8]) -> float:
    """Return the divisor of scores that calibrates their softmax.

    Temperature scaling (Guo et al., ICML 2017): it minimises the negative log likelihood of images
    that were not used in training.

    Args:
        scores_: shape (n, classes).
        labels: true classes, shape (n,).
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        logs = log_softmax(scores_ / np.exp(log_temperature), axis=1)
        return -float(logs[rows, labels].mean())

    bounds = (np.log(_SMALLEST_T), np.log(_LARGEST_T))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _part(images: Images, index: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return images.images[index], images.labels[index].astype(np.uint8)
