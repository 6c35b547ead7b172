"""Fit a ResNet and evaluate it. Knows nothing of tracking: it returns a result and calls back.

Read from `fit` down. The clock runs over training steps only: warm-up before the first, and the
evaluation after each epoch, are outside.
"""

import math
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from mnist_ops import fast_norm, flat_weights, keys, live_taps, models
from mnist_ops.data import Images, Split, split
from mnist_ops.errors import MnistOpsError
from mnist_ops.flat_weights import FlatWeights
from mnist_ops.results import EpochResult, FitResult, OnEpoch, scores
from mnist_ops.specs import ResNetSpec

EVALUATION_BATCH = 256
WARM_UP_STEPS = 2

# Kernels compile and caches fill once a process for each of these, not once a fit.
_warmed_up: set[tuple[str, int, str, str, bool]] = set()


class TrainingDiverged(MnistOpsError):
    """The loss became infinite or not a number."""


def fit(
    spec: ResNetSpec,
    images: Images,
    on_epoch: OnEpoch = lambda epoch: None,
    results_after: Collection[int] = (),
) -> dict[int, FitResult]:
    """Train the network of `spec` on `images`, and predict the test images.

    The same spec on the same device and library versions gives the same predictions. With a
    constant learning rate a shorter training is the beginning of a longer one, so its result can
    be taken on the way.

    Args:
        spec: what to train.
        images: the pooled data set that the spec names.
        on_epoch: called after each epoch with its loss and validation accuracy.
        results_after: epochs, beside the last, after which the test images are predicted too.

    Returns:
        Number of epochs -> the result of a training of that length, the last one always.

    Raises:
        InvalidInput: a limit of the spec does not fit the data set.
        TrainingDiverged: the loss is no longer a finite number.
    """
    parts = split(images.labels, spec.seed, spec.train_limit, spec.val_limit, spec.test_limit)
    trainer = _Trainer(spec, images, parts, torch.device(spec.device))
    trainer.warm_up()
    results = {}
    for number in range(1, spec.epochs + 1):
        loss = trainer.train_epoch()
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"the loss is {loss} in epoch {number}: try a lower learning rate than "
                f"{spec.learning_rate:g}, or precision float32"
            )
        accuracy = float((trainer.predict(parts.val) == images.labels[parts.val]).double().mean())
        epoch = EpochResult(number, loss, accuracy, trainer.clock.seconds)
        on_epoch(epoch)
        if number == spec.epochs or number in results_after:
            results[number] = _result(trainer, epoch, parts)
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

    def __init__(self, spec: ResNetSpec, images: Images, parts: Split, device: torch.device):
        self.spec = spec
        self.device = device
        self.images = images
        self.train_index = parts.train
        self.network, self.flat = _network(spec, device)
        self.optimizer = _optimizer(spec, self.network, self.flat)
        self.scaler = torch.amp.GradScaler(device.type, enabled=spec.precision == "float16")
        self.order = torch.Generator().manual_seed(spec.seed)
        self.feed = _Feed(images, parts.train, device, spec.pin_memory)
        self.clock = _Clock(device)
        self.images_trained = 0

    def train_epoch(self) -> float:
        """One pass over the training images in a new order; returns the mean loss."""
        self.network.train()
        total = torch.zeros((), device=self.device)
        seen = 0
        with self.clock:
            for batch in self._batches():
                pixels, labels = self.feed(batch)
                total += self._step(pixels, labels) * len(batch)
                seen += len(batch)
        self.images_trained += seen
        return float(total) / seen

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

    def warm_up(self) -> None:
        """Run steps on a network that is thrown away, so that the clock sees none of the setup."""
        spec = self.spec
        key = (spec.model, spec.batch_size, spec.device, spec.precision, spec.plain)
        if key in _warmed_up:
            return
        kept = self.network, self.flat, self.optimizer
        self.network, self.flat = _network(spec, self.device)
        self.network.train()
        self.optimizer = _optimizer(spec, self.network, self.flat)
        for _ in range(WARM_UP_STEPS):
            self._step(*self.feed(self.train_index[: spec.batch_size]))
        self.network, self.flat, self.optimizer = kept
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=spec.precision == "float16")
        _warmed_up.add(key)

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

    def _batches(self) -> Iterator[Tensor]:
        order = torch.randperm(len(self.train_index), generator=self.order)
        for batch in self.train_index[order].split(self.spec.batch_size):
            # Batch norm cannot normalise the 1x1 maps of a single image.
            if len(batch) > 1:
                yield batch

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        if not self.spec.amp:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.spec.precision))


class _Feed:
    """Gathers batches from the uint8 images in memory, and normalises each on the device.

    Mean and deviation are those of the training pixels.
    """

    def __init__(self, images: Images, train: Tensor, device: torch.device, pin_memory: bool):
        self.images = images
        self.device = device
        self.pin_memory = pin_memory and device.type == "cuda"
        # From the counts of the 256 grey levels: exact, and no float copy of the images.
        counts = torch.bincount(images.images[train].flatten(), minlength=256).double()
        levels = torch.arange(256, dtype=torch.float64) / 255
        share = counts / counts.sum()
        mean = float((levels * share).sum())
        self.mean = mean
        self.std = math.sqrt(float(((levels - mean) ** 2 * share).sum()))

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
    """Adds up the seconds spent in its ``with`` blocks, waiting for the device at both ends."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._synchronise()
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._synchronise()
        self.seconds += time.perf_counter() - self._start

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _network(spec: ResNetSpec, device: torch.device) -> tuple[nn.Module, FlatWeights | None]:
    """The same function in both forms; see `live_taps` for what the fast one leaves out."""
    network = models.build(spec.model, spec.seed)
    if spec.plain:
        return network.to(device), None
    network = fast_norm.fuse(live_taps.rewrite(network, models.IMAGE_SHAPE)).to(device)
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


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Compute on `threads` CPU threads with deterministic kernels, then restore the settings.

    Sums over threads depend on how many there are, so a fit is only the same again on as many.
    """
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cudnn.deterministic = before[1]
