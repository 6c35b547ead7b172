"""Fit a ResNet and evaluate it, independent of tracking.

Read from `fit` down. The clock runs over training steps only: warm-up before the first, and the
evaluation after each epoch, are outside. Threads of one process can train side by side; on a CUDA
device each has a stream of its own.
"""

import math
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnist_ops.core import keys
from mnist_ops.core.errors import MnistOpsError, Stopped
from mnist_ops.data import Images, Split, split_of
from mnist_ops.fitting import fast, rng
from mnist_ops.fitting.checkpoints import Checkpoint
from mnist_ops.fitting.resnet import models
from mnist_ops.fitting.resnet.device import Clock, own_stream
from mnist_ops.fitting.resnet.feed import Feed, augmented
from mnist_ops.fitting.resnet.resuming import batches, check_state
from mnist_ops.study.model import with_code
from mnist_ops.study.results import EpochResult, FitResult, OnEpoch, OnResult, scores
from mnist_ops.study.specs import CONSTANT, COSINE, ResNetSpec

EVALUATION_BATCH = 256
WARM_UP_STEPS = 2

# Kernels compile and caches fill once a process for each of these, not once a fit. Kept with it:
# whether the network draws random numbers while it trains.
_warmed_up: dict[tuple[Any, ...], bool] = {}


class TrainingDiverged(MnistOpsError):
    """The loss became infinite or not a number."""


def fit(
    spec: ResNetSpec,
    images: Images,
    on_epoch: OnEpoch = lambda epoch: None,
    results_after: Collection[int] = (),
    *,
    on_result: OnResult = lambda epochs, result: None,
    checkpoint: Checkpoint | None = None,
    stop: Callable[[], bool] = lambda: False,
    keep_state: bool = False,
) -> dict[int, FitResult]:
    """Train the network of `spec` on `images`, and predict the test images.

    The same spec on the same device and library versions gives the same predictions, whether it
    was trained in one go or went on from checkpoints. With a constant learning rate a shorter
    training is the beginning of a longer one, so its result can be taken on the way.

    Args:
        spec: what to train.
        images: the pooled data set that the spec names.
        on_epoch: called after each epoch with its loss and validation accuracy; at first with those
            that lie before the checkpoint that the training goes on from.
        results_after: epochs, beside the last, after which the test images are predicted too.
        on_result: called with each result as soon as it is there, after how many epochs it is.
        checkpoint: where the training goes on from, and saves to; None is nowhere.
        stop: called between steps; returns whether to save and raise `Stopped`.
        keep_state: whether the last result has the trained weights.

    Returns:
        Number of epochs -> the result of a training of that length, the last one always; without
        those that lie before the checkpoint that the training went on from.

    Raises:
        InvalidInput: a limit of the spec does not fit the data set.
        TrainingDiverged: the loss is no longer a finite number.
        Stopped: `stop` returned True; the checkpoint has the training up to there.
        DiskFull: the checkpoint cannot be written.
    """
    parts = split_of(spec, images)
    wanted = {*results_after, spec.epochs}
    results = {}
    device = torch.device(spec.device)
    with ExitStack() as stack:
        stack.enter_context(own_stream(device))
        draws = _warm_up(spec, images, parts)
        if draws:
            stack.enter_context(rng.seeded(spec.seed, device))
        trainer = Trainer(spec, images, parts, draws=draws)
        state = checkpoint.load(trainer.check) if checkpoint else None
        # One that is past a result that is wanted is of no use.
        if state and state["epoch"] < min(wanted):
            trainer.restore(state)
            # Who keeps the epochs may have lost them, or may have joined since.
            for epoch in trainer.history:
                on_epoch(epoch)
        trainer.capture()

        def between_steps() -> None:
            stopping = stop()
            if checkpoint and (stopping or checkpoint.due()):
                with trainer.clock.paused():
                    checkpoint.save(trainer.state())
            if stopping:
                raise Stopped("stopped; run the same command to continue")

        while trainer.epoch < spec.epochs:
            epoch = _trained_epoch(trainer, parts, between_steps)
            on_epoch(epoch)
            if epoch.number in wanted:
                results[epoch.number] = _result(trainer, epoch, parts)
                on_result(epoch.number, results[epoch.number])
            # Not before the results: a training that goes on from here does not give them again.
            if checkpoint and epoch.number < spec.epochs and checkpoint.due(epoch_ended=True):
                checkpoint.save(trainer.state())
        if keep_state:
            weights = trainer.prepared.network.state_dict()
            state = {name: tensor.cpu().clone() for name, tensor in weights.items()}
            results[spec.epochs] = replace(results[spec.epochs], state=state)
    return results


def _trained_epoch(
    trainer: "Trainer", parts: Split, between_steps: Callable[[], None]
) -> EpochResult:
    """Train for the rest of an epoch, then classify the validation images."""
    loss = trainer.train_epoch(between_steps)
    if not math.isfinite(loss):
        raise TrainingDiverged(
            f"the loss is {loss} in epoch {trainer.epoch}: try a lower learning rate than "
            f"{trainer.spec.learning_rate:g}, or precision float32"
        )
    correct = trainer.predict(parts.val) == trainer.images.labels[parts.val]
    accuracy = float(correct.mean())
    epoch = EpochResult(trainer.epoch, loss, accuracy, trainer.clock.seconds)
    trainer.history.append(epoch)
    return epoch


def _result(trainer: "Trainer", epoch: EpochResult, parts: Split) -> FitResult:
    predictions = trainer.predict(parts.test).astype(np.uint8)
    labels = trainer.images.labels[parts.test].astype(np.uint8)
    return FitResult(
        predictions=predictions,
        labels=labels,
        test_index=parts.test.astype(np.int32),
        n_train=len(parts.train),
        n_val=len(parts.val),
        metrics=epoch.metrics
        | scores(labels, predictions)
        | models.complexity(trainer.spec).metrics
        | {keys.IMAGES_PER_SECOND: trainer.images_trained / epoch.train_time_s},
    )


class Trainer:
    """One training: a network that takes steps, the order of its images, its clock.

    Attributes:
        spec: what is trained.
        images: the pooled data set.
        train_index: which of them are trained on.
        steps_per_epoch: how many batches they are.
        prepared: the network, and its training step.
        clock: of the training steps.
        epoch: whole epochs so far.
        history: their results.
        images_trained: in these epochs.
    """

    def __init__(self, spec: ResNetSpec, images: Images, parts: Split, *, draws: bool = False):
        """Build a network that is not trained yet.

        Args:
            spec: what is to be trained.
            images: the pooled data set that it names.
            parts: their split.
            draws: whether the network draws random numbers while it trains.
        """
        self.spec = spec
        self.images = images
        self.train_index = torch.from_numpy(parts.train)
        self.steps_per_epoch = len(batches(self.train_index, spec))
        self.device = torch.device(spec.device)
        self.draws = draws
        network = models.build(spec)
        self.prepared = fast.prepare(network, spec.data.image_shape, spec)
        self.order = torch.Generator().manual_seed(spec.seed)
        self.feed = Feed(images, parts.train, self.device, spec.pin_memory)
        self.clock = Clock(self.device)
        self.epoch = self.images_trained = 0
        self.history: list[EpochResult] = []
        # Of the epoch that has begun: steps, images, summed loss, and what its order is drawn from.
        self.step = self.seen = 0
        self.loss = torch.zeros((), device=self.device)
        self.order_before = self.order.get_state()

    def capture(self) -> None:
        """On a CUDA device, take steps on whole batches as one graph from now on."""
        batch = self.train_index[: self.spec.batch_size]
        # A graph keeps the learning rate that it was captured with.
        if len(batch) == self.spec.batch_size and self.spec.schedule == CONSTANT:
            self.prepared.capture(*self.feed(batch))

    def train_epoch(self, between_steps: Callable[[], None] = lambda: None) -> float:
        """Take the remaining steps of an epoch, in a new order; returns the mean loss."""
        self.prepared.network.train()
        remaining = self.draw_batches()[self.step :]
        with self.clock:
            for batch in remaining:
                self.loss += self.take_step(batch) * len(batch)
                self.seen += len(batch)
                self.step += 1
                between_steps()
        loss = float(self.loss) / self.seen
        self.images_trained += self.seen
        self.epoch += 1
        self.step = self.seen = 0
        self.loss.zero_()
        self.order_before = self.order.get_state()
        return loss

    def draw_batches(self) -> list[Tensor]:
        """Draw the next order of the training images; returns the indices of each batch."""
        order = torch.randperm(len(self.train_index), generator=self.order)
        return batches(self.train_index[order], self.spec)

    def take_step(self, batch: Tensor) -> Tensor:
        """Train on the images with these indices; returns their mean loss, on the device."""
        if self.spec.schedule == COSINE:
            steps = self.steps_per_epoch
            done = (self.epoch * steps + self.step) / (self.spec.epochs * steps)
            self.prepared.set_rate(self.spec.learning_rate * (1 + math.cos(math.pi * done)) / 2)
        return self.prepared.step(*self.feed(batch, self._augment))

    def _augment(self, pixels: Tensor) -> Tensor:
        """Return the pixels of the next step's batch, augmented.

        What is drawn follows from the seed, the epoch and the step alone: a training that goes on
        from a checkpoint draws the same.
        """
        place = (self.spec.seed, self.epoch, self.step)
        return augmented(pixels, self.spec.augmentation, place)

    def predict(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the predicted class of each image of `index`."""
        network = self.prepared.network.eval()
        with torch.inference_mode():
            predicted = []
            for batch in torch.from_numpy(index).split(EVALUATION_BATCH):
                pixels, _ = self.feed(batch)
                with self.prepared.autocast():
                    predicted.append(network(pixels).argmax(dim=1).cpu())
        classes: NDArray[np.int64] = torch.cat(predicted).numpy()
        return classes

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on, and its clock."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "seen": self.seen,
            "loss": self.loss,
            "images_trained": self.images_trained,
            "seconds": self.clock.seconds,
            "order": self.order_before,
            **self.prepared.state(),
            "random": rng.state(self.device) if self.draws else {},
            "history": [[e.train_loss, e.val_accuracy, e.train_time_s] for e in self.history],
        }

    def check(self, found: Any) -> None:
        """Raise, by any exception, where `found` is no state of this training, not yet begun."""
        weights = self.prepared.optimizer.param_groups[0]["params"]
        check_state(found, self.state(), weights, len(self.train_index), self.spec)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state` that passed `check`."""
        self.epoch, self.step, self.seen = state["epoch"], state["step"], state["seen"]
        self.loss.copy_(state["loss"])
        self.images_trained = state["images_trained"]
        self.clock.seconds = state["seconds"]
        self.order_before = state["order"]
        self.order.set_state(self.order_before)
        self.prepared.restore(state)
        if self.draws:
            rng.set_state(self.device, state["random"])
        self.history = [EpochResult(n, *values) for n, values in enumerate(state["history"], 1)]


def _warm_up(spec: ResNetSpec, images: Images, parts: Split) -> bool:
    """Train a network that is thrown away, so that the clock sees none of the setup.

    Gone before the one that counts is built: there is room for one.

    Returns:
        Whether the network draws random numbers while it trains, as dropout does.
    """
    device, builder = torch.device(spec.device), with_code(spec.model, spec.code).build
    key = (builder, spec.arguments, spec.data, spec.batch_size, device, spec.precision, spec.plain)
    with rng.seeded(spec.seed, device):
        if key not in _warmed_up:
            # Kept for the result; what the counting takes, the training can have again.
            models.complexity(spec)
            trainer = Trainer(spec, images, parts)
            trainer.prepared.network.train()
            before = rng.state(device)
            for _ in range(WARM_UP_STEPS):
                trainer.take_step(trainer.train_index[: spec.batch_size])
            after = rng.state(device)
            _warmed_up[key] = not all(torch.equal(before[name], after[name]) for name in before)
    return _warmed_up[key]
