"""Checkpoints: a training that goes on ends as the one that was never cut."""

import dataclasses
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from data_fixtures import fixture_images
from model_fixtures import NETWORK

from mnist_ops.core import atomic_files, keys
from mnist_ops.core.errors import DiskFull, Stopped
from mnist_ops.core.paths import SET_ASIDE
from mnist_ops.data import Images
from mnist_ops.fitting.checkpoints import Checkpoint
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.fitting.resnet import train
from mnist_ops.study.results import EpochResult, FitResult
from mnist_ops.study.specs import ResNetSpec

SPEC = dataclasses.replace(NETWORK, epochs=3, train_limit=64, test_limit=40)
SAME = (keys.TRAIN_LOSS, keys.VAL_ACCURACY, keys.TEST_ACCURACY, keys.TEST_F1)


@pytest.fixture(scope="module")
def images() -> Images:
    return fixture_images("MNIST")


def checkpoint(folder: Path, every_s: float = 0, **identity: str) -> Checkpoint:
    return Checkpoint(folder / "a.checkpoint", {"training": "a"} | identity, every_s)


@cache
def in_one_go(spec: ResNetSpec) -> tuple[FitResult, list[EpochResult]]:
    """The result and the epochs of a training that nothing interrupts."""
    epochs: list[EpochResult] = []
    with reproducible(threads=1):
        return train.fit(spec, fixture_images("MNIST"), epochs.append)[3], epochs


def cut_after(steps: int, spec: ResNetSpec, images: Images, kept: Checkpoint) -> None:
    """Train `spec` for `steps` steps, as far as the checkpoint knows."""
    left = iter(range(steps - 1))
    with pytest.raises(Stopped):
        train.fit(spec, images, checkpoint=kept, stop=lambda: next(left, None) is None)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 4, 6, 11])
@pytest.mark.parametrize(
    "change",
    [
        {"precision": "bfloat16"},
        {"precision": "float32"},
        {
            "precision": "float32",
            "optimizer": "SGD",
            "plain": True,
            "augmentation": "shift-flip",
        },
    ],
    ids=["bfloat16", "float32", "plain SGD, augmented"],
)
def test_a_training_that_goes_on_gives_the_same_bits(
    images: Images, tmp_path: Path, change: dict[str, object], steps: int
) -> None:
    spec = dataclasses.replace(SPEC, **change)
    whole, expected = in_one_go(spec)
    epochs: list[EpochResult] = []
    with reproducible(threads=1):
        cut_after(steps, spec, images, checkpoint(tmp_path))
        kept = checkpoint(tmp_path)
        parts = train.fit(spec, images, epochs.append, checkpoint=kept)[3]
    assert np.array_equal(whole.predictions, parts.predictions)
    assert [whole.metrics[name] for name in SAME] == [parts.metrics[name] for name in SAME]
    assert [epoch.train_loss for epoch in epochs] == [epoch.train_loss for epoch in expected]


def test_time_is_that_of_all_parts(images: Images, tmp_path: Path) -> None:
    cut_after(9, SPEC, images, checkpoint(tmp_path))
    before = checkpoint(tmp_path).load()["seconds"]
    epochs: list[EpochResult] = []
    result = train.fit(SPEC, images, epochs.append, checkpoint=checkpoint(tmp_path))[3]
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert result.metrics[keys.TRAIN_TIME_S] > before > 0
    assert result.metrics[keys.IMAGES_PER_SECOND] == pytest.approx(
        3 * 64 / result.metrics[keys.TRAIN_TIME_S]
    )


def test_results_come_before_the_checkpoint_that_is_past_them(
    images: Images, tmp_path: Path
) -> None:
    seen: list[tuple[int, FitResult]] = []
    kept = checkpoint(tmp_path)
    with pytest.raises(Stopped):
        train.fit(
            SPEC,
            images,
            results_after=(1, 2),
            on_result=lambda epochs, result: seen.append((epochs, result)),
            checkpoint=kept,
            stop=lambda: len(seen) == 2,
        )
    assert [epochs for epochs, _ in seen] == [1, 2]
    assert kept.load()["epoch"] == 2


@pytest.mark.slow
def test_checkpoint_past_a_wanted_result_is_not_used(images: Images, tmp_path: Path) -> None:
    cut_after(6, SPEC, images, checkpoint(tmp_path))
    results = train.fit(SPEC, images, results_after=(1,), checkpoint=checkpoint(tmp_path))
    assert list(results) == [1, 3]


def test_time_decides_when_to_save(tmp_path: Path) -> None:
    kept = checkpoint(tmp_path, every_s=1000)
    assert not kept.due()
    assert not kept.due(epoch_ended=True)
    kept = checkpoint(tmp_path, every_s=0)
    assert kept.due()


STATE = {"epoch": 1, "weights": {"a": torch.arange(5.0)}}


@pytest.mark.parametrize(
    ("cost", "ago", "due", "at_epochs_end"),
    [
        (0.0, 30, False, True),
        (0.3, 40, False, True),
        (0.3, 70, True, True),
        (1.5, 120, False, False),
        (1.5, 160, True, True),
    ],
)
def test_slow_saves_become_rarer(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cost: float,
    ago: float,
    due: bool,
    at_epochs_end: bool,
) -> None:
    now = [0.0]

    def replace(*_: object) -> None:
        now[0] += cost

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(atomic_files, "replace", replace)
    kept = checkpoint(tmp_path, every_s=60)
    kept.save(STATE)
    now[0] += ago
    assert (kept.due(), kept.due(epoch_ended=True)) == (due, at_epochs_end)


@pytest.mark.parametrize("place", [0, 20, 100, -1])
def test_a_changed_byte_is_noticed(tmp_path: Path, place: int) -> None:
    lines: list[str] = []
    kept = dataclasses.replace(checkpoint(tmp_path), log=lines.append)
    kept.save(STATE)
    content = bytearray(kept.path.read_bytes())
    content[place] ^= 1
    kept.path.write_bytes(content)
    assert kept.load() is None
    assert len(lines) == 1
    assert "starts again" in lines[0]
    assert not kept.path.exists()
    assert kept.path.with_name(kept.path.name + SET_ASIDE).read_bytes() == content


@pytest.mark.parametrize("length", [0, 1, 50, 300])
def test_a_torn_file_is_noticed(tmp_path: Path, length: int) -> None:
    kept = checkpoint(tmp_path)
    kept.save(STATE)
    kept.path.write_bytes(kept.path.read_bytes()[:length])
    assert kept.load() is None


def test_another_trainings_checkpoint_is_not_taken(tmp_path: Path) -> None:
    checkpoint(tmp_path).save(STATE)
    assert checkpoint(tmp_path, processor="another").load() is None


def test_full_disk_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = checkpoint(tmp_path)
    kept.save(STATE)
    monkeypatch.setattr(atomic_files, "RESERVE_BYTES", 2**60)
    with pytest.raises(DiskFull, match="make room"):
        kept.save({"epoch": 2})
    assert kept.load()["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.checkpoint"]
