"""Fit a ResNet and evaluate it. Knows nothing of tracking: it returns a result and calls back.

Read from `fit` down. The clock runs over training steps only: warm-up before the first, and the
evaluation after each epoch, are outside. Threads of one process can train side by side; on a CUDA
device each has a stream of its own.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mnist_ops.core import keys
from mnist_ops.core.errors import MnistOpsError, Stopped
from mnist_ops.data import Images, Split, split_of
from mnist_ops.fitting import rng
from mnist_ops.fitting.checkpoints import Checkpoint
from mnist_ops.fitting.fast import cropped_kernels, cuda_graph, fast_norm, flat_weights
from mnist_ops.fitting.fast.flat_weights import FlatWeights
from mnist_ops.fitting.resnet import models
from mnist_ops.fitting.resuming import batches, check_state
from mnist_ops.study.results import EpochResult, FitResult, OnEpoch, OnResult, scores
from mnist_ops.study.specs import ResNetSpec

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
        stop: asked between two steps whether to save and leave.
        keep_state: whether the last result has the trained weights.

    Returns:
        Number of epochs -> the result of a training of that length, the last one always; without
        those that lie before the checkpoint that the training went on from.

    Raises:
        InvalidInput: a limit of the spec does not fit the data set.
        TrainingDiverged: the loss is no longer a finite number.
        Stopped: `stop` said so; the checkpoint has the training up to there.
        DiskFull: the checkpoint cannot be written.
    """
    parts = split_of(spec, images)
    wanted = {*results_after, spec.epochs}
    results = {}
    device = torch.device(spec.device)
    with ExitStack() as stack:
        stack.enter_context(_own_stream(device))
        draws = _warm_up(spec, images, parts)
        if draws:
            stack.enter_context(rng.drawn_from(spec.seed, device))
        trainer = _Trainer(spec, images, parts, device, draws=draws)
        # One that is past a result that is wanted is of no use.
        state = checkpoint.load(trainer.check) if checkpoint else None
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
                raise Stopped("stopped; the same command goes on")

        while trainer.epoch < spec.epochs:
            loss = trainer.train_epoch(between_steps)
            if not math.isfinite(loss):
                raise TrainingDiverged(
                    f"the loss is {loss} in epoch {trainer.epoch}: try a lower learning rate than "
                    f"{spec.learning_rate:g}, or precision float32"
                )
            found = trainer.predict(parts.val) == images.labels[parts.val]
            accuracy = float(found.double().mean())
            epoch = EpochResult(trainer.epoch, loss, accuracy, trainer.clock.seconds)
            trainer.history.append(epoch)
            on_epoch(epoch)
            if epoch.number in wanted:
                results[epoch.number] = _result(trainer, epoch, parts)
                on_result(epoch.number, results[epoch.number])
            # Not before the results: a training that goes on from here does not give them again.
            if checkpoint and epoch.number < spec.epochs and checkpoint.due(epoch_ended=True):
                checkpoint.save(trainer.state())
        if keep_state:
            state = {name: t.cpu().clone() for name, t in trainer.network.state_dict().items()}
            results[spec.epochs] = replace(results[spec.epochs], state=state)
    return results


def _result(trainer: "_Trainer", epoch: EpochResult, parts: Split) -> FitResult:
    predictions = trainer.predict(parts.test).numpy().astype(np.uint8)
    labels = trainer.images.labels[parts.test].numpy().astype(np.uint8)
    cost = models.complexity(trainer.spec.model)
    return FitResult(
        predictions=predictions,
        labels=labels,
        test_index=parts.test.numpy().astype(np.int32),
        n_train=len(parts.train),
        n_val=len(parts.val),
        metrics=epoch.metrics
        | scores(labels, predictions)
        | {
            keys.IMAGES_PER_SECOND: trainer.images_trained / epoch.train_time_s,
            keys.FLOPS: cost.flops,
            keys.FLOPS_FVCORE: cost.flops_fvcore,
            keys.PARAMETERS: cost.parameters,
            keys.LIVE_PARAMETERS: cost.live_parameters,
        },
    )


class _Trainer:
    """The state of one training: network, optimizer, data order and clock."""

    def __init__(
        self,
        spec: ResNetSpec,
        images: Images,
        parts: Split,
        device: torch.device,
        *,
        draws: bool = False,
    ):
        """A network that is not trained yet; `draws` random numbers from then on, or does not."""
        self.spec = spec
        self.device = device
        self.draws = draws
        self.images = images
        self.train_index = parts.train
        self.network, self.flat = _network(spec, device)
        self.optimizer = _optimizer(spec, self.network, self.flat)
        self.scaler = torch.amp.GradScaler(device.type, enabled=spec.precision == "float16")
        self.order = torch.Generator().manual_seed(spec.seed)
        self.feed = _Feed(images, parts.train, device, spec.pin_memory)
        self.clock = _Clock(device)
        self.graph: cuda_graph.Step | None = None
        self.images_trained = 0
        # How far it is: whole epochs, and of the one that has begun steps, images, summed loss, and
        # what its order was drawn from.
        self.epoch = self.step = self.seen = 0
        self.loss = torch.zeros((), device=device)
        self.order_before = self.order.get_state()
        self.history: list[EpochResult] = []

    def train_epoch(self, between_steps: Callable[[], None]) -> float:
        """The rest of a pass over the training images in a new order; returns the mean loss."""
        self.network.train()
        order = torch.randperm(len(self.train_index), generator=self.order)
        left = batches(self.train_index[order], self.spec)[self.step :]
        with self.clock:
            for batch in left:
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

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on, and its clock."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "seen": self.seen,
            "loss": self.loss,
            "images_trained": self.images_trained,
            "seconds": self.clock.seconds,
            "order": self.order_before,
            "network": self._weights(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": rng.state(self.device) if self.draws else {},
            "history": [[e.train_loss, e.val_accuracy, e.train_time_s] for e in self.history],
        }

    def check(self, found: Any) -> None:
        """Refuse, by any exception, what is no state of this training; it must not have begun."""
        weights = self.optimizer.param_groups[0]["params"]
        check_state(found, self.state(), weights, len(self.train_index), self.spec)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state` that passed `check`."""
        self.epoch, self.step, self.seen = state["epoch"], state["step"], state["seen"]
        self.loss.copy_(state["loss"])
        self.images_trained = state["images_trained"]
        self.clock.seconds = state["seconds"]
        self.order_before = state["order"]
        self.order.set_state(self.order_before)
        with torch.no_grad():
            for name, weight in self._weights().items():
                weight.copy_(state["network"][name])
        # The rest of the optimizer follows from the spec.
        own = self.optimizer.state_dict()
        self.optimizer.load_state_dict(own | {"state": state["optimizer"]["state"]})
        self.scaler.load_state_dict(state["scaler"])
        if self.draws:
            rng.set_state(self.device, state["random"])
        self.history = [EpochResult(n, *values) for n, values in enumerate(state["history"], 1)]

    def _weights(self) -> dict[str, Tensor]:
        """Weights and running statistics by name, without what follows from the spec."""
        kept = self.network.state_dict(keep_vars=True).keys()
        tensors = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
        return {name: tensor.detach() for name, tensor in tensors.items() if name in kept}

    def predict(self, index: Tensor) -> Tensor:
        """The predicted class of each image of `index`: int64, on the CPU."""
        self.network.eval()
        with torch.inference_mode():
            predicted = []
            for batch in index.split(EVALUATION_BATCH):
                pixels, _ = self.feed(batch)
                with self._autocast():
                    predicted.append(self.network(pixels).argmax(dim=1).cpu())
        return torch.cat(predicted)

    def capture(self) -> None:
        """On a CUDA device, take steps on whole batches as one graph from now on."""
        batch = self.train_index[: self.spec.batch_size]
        if self.device.type == "cuda" and len(batch) == self.spec.batch_size:
            self.network.train()
            self.graph = cuda_graph.captured(
                self._step, self.network, self.optimizer, self.scaler, *self.feed(batch)
            )

    def take_step(self, batch: Tensor) -> Tensor:
        """Train on the images with these indices; returns their mean loss, on the device."""
        pixels, labels = self.feed(batch)
        if self.graph is None or len(batch) < self.spec.batch_size:
            return self._step(pixels, labels)
        loss = self.graph(pixels, labels)
        if self.flat is not None:
            # A replay does not pass through Python, which keeps count of what is written.
            self.flat.updated(cast=False)
        return loss

    def _step(self, pixels: Tensor, labels: Tensor) -> Tensor:
        if self.flat is None:
            self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = nn.functional.cross_entropy(self.network(pixels), labels)
        self.scaler.scale(loss).backward()
        if self.flat is not None:
            self.flat.gather()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        if not self.spec.amp:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.spec.precision))


def _warm_up(spec: ResNetSpec, images: Images, parts: Split) -> bool:
    """Train a network that is thrown away, so that the clock sees none of the setup.

    Gone before the one that counts is built: there is room for one.

    Returns:
        Whether the network draws random numbers while it trains, as dropout does.
    """
    device, builder = torch.device(spec.device), models.BUILDERS[spec.model]
    key = (builder, spec.batch_size, spec.device, spec.precision, spec.plain)
    with rng.drawn_from(spec.seed, device):
        if key not in _warmed_up:
            # Kept for the result; what the counting takes, the training can have again.
            models.complexity(spec.model)
            trainer = _Trainer(spec, images, parts, device)
            trainer.network.train()
            before = rng.state(device)
            for _ in range(WARM_UP_STEPS):
                trainer.take_step(parts.train[: spec.batch_size])
            after = rng.state(device)
            _warmed_up[key] = not all(torch.equal(before[name], after[name]) for name in before)
    return _warmed_up[key]


def mean_and_std(pixels: Tensor) -> tuple[float, float]:
    """Mean and deviation, grey levels 0 to 1, of the training pixels, by which all are normalised.

    Args:
        pixels: uint8, of any shape.
    """
    # From the counts of the 256 grey levels: exact, and no float copy of the images.
    counts = torch.bincount(pixels.flatten(), minlength=256).double()
    levels = torch.arange(256, dtype=torch.float64) / 255
    share = counts / counts.sum()
    mean = float((levels * share).sum())
    return mean, math.sqrt(float(((levels - mean) ** 2 * share).sum()))


class _Feed:
    """Gathers batches from the uint8 images in memory, and normalises each on the device.

    Mean and deviation are those of the training pixels.
    """

    def __init__(self, images: Images, train: Tensor, device: torch.device, pin_memory: bool):
        self.images = images
        self.device = device
        self.pin_memory = pin_memory and device.type == "cuda"
        self.mean, self.std = mean_and_std(images.images[train])

    def __call__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Float32 pixels, shape (n, 1, 28, 28), and int64 labels, both on the device."""
        pixels, labels = self.images.images[index], self.images.labels[index]
        if self.device.type == "cuda":
            if self.pin_memory:
                pixels, labels = pixels.pin_memory(), labels.pin_memory()
            pixels = pixels.to(self.device, non_blocking=self.pin_memory)
            labels = labels.to(self.device, non_blocking=self.pin_memory)
        return pixels.unsqueeze(1).float().div_(255).sub_(self.mean).div_(self.std), labels


class _Clock:
    """Adds up the seconds in its ``with`` blocks, waiting for this thread's work at both ends."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._synchronise()
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._synchronise()
        self.seconds += time.perf_counter() - self._start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens in the middle of a ``with`` block."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            # Not the whole device: other threads may be training on it.
            torch.cuda.current_stream(self.device).synchronize()


@contextmanager
def _own_stream(device: torch.device) -> Iterator[None]:
    """Have a CUDA device compute for this thread beside what it computes for others."""
    if device.type != "cuda":
        yield
        return
    stream, outer = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(outer)
    with torch.cuda.stream(stream):
        yield
    outer.wait_stream(stream)


def _network(spec: ResNetSpec, device: torch.device) -> tuple[nn.Module, FlatWeights | None]:
    """The same function in both forms; see `live_taps` for what the fast one leaves out."""
    network = models.build(spec.model, spec.seed)
    if spec.plain:
        return network.to(device), None
    network = fast_norm.fuse(cropped_kernels.rewrite(network, models.IMAGE_SHAPE)).to(device)
    return network, FlatWeights(network, getattr(torch, spec.precision) if spec.amp else None)


def _optimizer(
    spec: ResNetSpec, network: nn.Module, flat: FlatWeights | None
) -> torch.optim.Optimizer:
    rate, momentum = spec.learning_rate, spec.momentum
    if spec.optimizer == "SGD":
        if flat is not None:
            return flat_weights.SGD(flat, rate, momentum)
        return torch.optim.SGD(network.parameters(), lr=rate, momentum=momentum, fused=True)
    if flat is not None:
        return flat_weights.Adam(flat, rate)
    return torch.optim.Adam(network.parameters(), lr=rate, fused=True)
