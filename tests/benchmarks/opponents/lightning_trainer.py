"""The tutorials' script in Lightning: its module and its trainer, without logs and checkpoints."""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor
from torch.nn import functional
from tutorial import Training, loader, network, optimizer_of

warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Classifier(lightning.LightningModule):
    def __init__(self, model: str, optimizer: str):
        super().__init__()
        self.network = network(model)
        self.optimizer = optimizer

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        images, labels = batch
        return functional.cross_entropy(self.network(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self.optimizer, self.network)


class AfterStep(lightning.Callback):
    def __init__(self, on_step: Callable[[], None]):
        self.on_step = on_step

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.on_step()


def train(training: Training, on_step: Callable[[], None]) -> None:
    """Train without end."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        precision="bf16-mixed" if training.precision == "bfloat16" else "32-true",
        max_epochs=-1,
        callbacks=[AfterStep(on_step)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        Classifier(training.model, training.optimizer),
        loader(training.dataset, training.root, training.batch_size),
    )
