"""A user's folder with images and a short file, the wheel, and a machine that fails twice."""

import itertools
import os
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import installed_wheel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mnist_ops import tracking
from mnist_ops.core import keys

COUNTS = {"circle": 34, "cross": 20, "ring": 26, "square": 44, "stripe": 16}
STUDY = """
from torch import nn

from mnist_ops import data
from mnist_ops.study import Limits, NetworkSpec, Preset, Study


def small_cnn(image_shape, n_classes, dropout=0.0):
    return nn.Sequential(
        nn.Conv2d(image_shape[0], 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(256, n_classes),
    )


STUDY = Study(
    name="shapes",
    title="Shapes",
    question="Does weight decay or dropout help a small network?",
    spec=NetworkSpec,
    presets={"quick": Preset(seeds=(0, 1, 2), limits=Limits())},
    grid={
        "dataset": (data.folder("shapes", "images/"),),
        "model": (small_cnn,),
        "dropout": (0.0, 0.3),
        "weight_decay": (0.0, 0.01),
        "epochs": (15,),
        "batch_size": (8,),
        "optimizer": ("Adam",),
        "learning_rate": (0.003,),
        "device": ("cpu",),
    },
)
""".strip()


def draw(folder: Path) -> None:
    """Write colour images of 32x32 pixels, a folder a class."""
    dice = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    for name, count in COUNTS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            top, left = dice.integers(12, 20, 2)
            far = np.hypot(y - top, x - left)
            near = np.maximum(abs(y - top), abs(x - left))
            inside = {
                "circle": far < 8,
                "cross": np.minimum(abs(y - top), abs(x - left)) < 2,
                "ring": abs(far - 8) < 2,
                "square": near < 7,
                "stripe": (x + left) % 8 < 3,
            }[name]
            pixels = dice.integers(0, 90, (32, 32, 3))
            pixels[inside] += dice.integers(80, 160, 3)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")


def start(command: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("w") as out:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=installed_wheel.environment(folder),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_study_in_an_empty_folder_is_killed_twice(
    installed: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "mine"
    draw(folder / "images")
    (folder / "shapes.py").write_text(STUDY + "\n", encoding="utf-8")
    assert len(STUDY.splitlines()) <= 40
    program = str(installed / "mnist-ops")
    command = [program, "run", "shapes.py", "--workers", "1", "--checkpoint-every", "0.1"]
    for attempt, wanted in enumerate((2, 3)):
        log = home / f"{attempt}.log"
        process = start(command, folder, log)
        deadline = time.monotonic() + 400
        # A line a finished cell.
        while log.read_text().count("test accuracy") < wanted:
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    told = installed_wheel.run(command, folder)
    ended = re.search(r"shapes: (\d+) cells computed, (\d+) finished before", told)
    assert ended, told
    computed, before = map(int, ended.groups())
    assert computed + before == 12
    assert before >= 2 + 3
    monkeypatch.chdir(folder)
    client = tracking.connect(tracking.default_uri(), create=False)
    runs = tracking.cell_runs(client)
    finished = runs[runs["status"] == "FINISHED"]
    # None is lost, none is there twice, none is left open.
    assert Counter(finished["fingerprint"]).most_common(1)[0][1] == 1
    wanted_cells = set(itertools.product((0.0, 0.3), (0.0, 0.01), range(3)))
    found = finished[["argument_dropout", keys.WEIGHT_DECAY, keys.SEED]].astype(float)
    assert set(found.itertuples(index=False, name=None)) == wanted_cells
    assert len(finished) == len(wanted_cells)
    assert not set(runs["status"]) & {"RUNNING", "SCHEDULED"}
    assert finished[keys.TEST_ACCURACY].mean() > 0.5
    told = installed_wheel.run([program, "summarize", "--study", "shapes.py"], folder)
    assert "shapes: 12 of 12 cells finished" in told
    table = pd.read_csv(folder / "report" / "tables" / "table-04.csv")
    assert table["n"].tolist() == [3, 3, 3, 3]
    assert (folder / "report" / "index.html").is_file()
