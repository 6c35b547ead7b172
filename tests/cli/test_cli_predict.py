"""``mnist-ops predict``: what it prints of images, and with which code it ends."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from champion_fixtures import SVM_CELL, run
from click.testing import CliRunner, Result
from data_fixtures import fixture_images
from mlflow import MlflowClient
from PIL import Image
from rich.console import Console

from mnist_ops import tracking
from mnist_ops.cli import main
from mnist_ops.cli.predict import drawn
from mnist_ops.data import split
from mnist_ops.serving.champions import register_best
from mnist_ops.serving.inference.preprocessing import Picture


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


@pytest.fixture
def with_champion(small_data: Path, home: Path) -> Path:
    """A home whose store has a champion of MNIST."""
    run(SVM_CELL, 420, "--set", "C=10")
    register_best(tracking.default_uri(), ["MNIST"])
    return home


def images_of_test() -> np.ndarray:
    images = fixture_images("MNIST")
    return images.images[split(images.labels, 0, 420, 0, 100).test]


def write_all(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir()
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return folder


def test_classes_of_a_folder_are_those_that_were_logged(
    with_champion: Path, client: MlflowClient
) -> None:
    runs = tracking.cell_runs(client)
    best = runs.sort_values(["val_accuracy", "name"], ascending=[False, True]).iloc[0]
    logged = tracking.predictions(client, best["run_id"])
    assert logged is not None
    folder = write_all(with_champion / "images", images_of_test())

    result = call("predict", "--batch", str(folder))
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [Path(row["file"]).name for row in rows] == [f"{n:03}.png" for n in range(100)]
    found = np.array([int(row["class"]) for row in rows])
    assert np.array_equal(found, logged.predicted)
    assert np.mean(found == logged.label) == pytest.approx(best["test_accuracy"], abs=1e-12)

    lines = call("predict", "--batch", str(folder), "--json").stdout.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [answer["class"] for answer in answers] == found.tolist()
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_what_is_said_of_images(with_champion: Path) -> None:
    digit = images_of_test()[0]
    Image.fromarray(digit).save("digit.png")
    Image.fromarray(255 - digit).save("paper.png")
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(noise // 2).save("noise.png")
    result = call("predict", "digit.png", "paper.png", "noise.png")
    assert result.exit_code == 0, result.output
    first, second, *rest = result.stdout.splitlines()
    assert first.startswith("digit.png: ")
    assert second.replace("paper", "digit") == first
    assert rest[0] == "  dark on light: inverted"
    assert rest[1].startswith("noise.png: ")
    assert rest[2].startswith("  looks unlike the training images: ")


def test_a_bad_file_is_one_line_and_the_others_go_on(with_champion: Path) -> None:
    folder = write_all(with_champion / "images", images_of_test()[:3])
    (folder / "001.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not asked")
    result = call("predict", "--batch", str(folder))
    assert result.exit_code == 1
    assert "001.png: is not an image" in result.stderr
    assert "1 of 3 images could not be classified" in result.stderr
    assert "1 without an image's suffix left out" in result.stderr
    assert "Traceback" not in result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [bool(row["class"]) for row in rows] == [True, False, True]
    assert "is not an image" in rows[1]["error"]
    missing = call("predict", str(folder / "000.png"), "missing.png", "--json")
    assert missing.exit_code == 1
    answers = [json.loads(line) for line in missing.stdout.splitlines()]
    assert answers[0]["error"] is None
    assert answers[1]["error"] == "missing.png: does not exist"


def test_a_file_may_have_any_name(with_champion: Path) -> None:
    folder = write_all(with_champion / "images", images_of_test()[:1])
    for name in (b"caf\xe9.png", b"two\nlines.png", b"\x1b[31mred.png"):
        shutil.copy(folder / "000.png", folder / os.fsdecode(name))
    result = call("predict", "--batch", str(folder))
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    names = sorted(Path(row["file"]).name for row in rows)
    assert names == ["000.png", "caf�.png", "two�lines.png", "�[31mred.png"]
    listed = call("predict", "--batch", str(folder), "--json").stdout.splitlines()
    assert len(listed) == 4
    for row in (*rows, *map(json.loads, listed)):
        # A program in any language gets at the bytes.
        assert Path(os.fsdecode(unquote_to_bytes(row["uri"].removeprefix("file://")))).exists()


IN_EVERY_ENCODING = """
import sys
from mnist_ops.cli import main
from mnist_ops.cli.options import encode_anything

encode_anything()
for command in (
    ["predict", "images/\u00e9\u6570.png"],
    ["predict", "--batch", "images"],
    ["doctor"],
    ["summarize", "--format", "html"],
):
    print("$", command[0])
    main(command, standalone_mode=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["latin-1", "C"],
)
def test_output_that_cannot_encode_a_name(with_champion: Path, environment: dict[str, str]) -> None:
    folder = with_champion / "caf\u00e9"
    folder.mkdir()
    shutil.move(with_champion / "mlflow.db", folder)
    shutil.move(with_champion / "mlruns", folder)
    images = write_all(folder / "images", images_of_test()[:1])
    shutil.copy(images / "000.png", images / "\u00e9\u6570.png")
    script = with_champion / "commands.py"
    script.write_text(IN_EVERY_ENCODING, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
    )
    told = done.stderr.decode("latin-1")
    assert done.returncode == 0, told
    assert "Traceback" not in told
    _, one, batch, doctor, report = re.split(rb"^\$ \w+\n", done.stdout, flags=re.MULTILINE)
    # Where the locale has ASCII alone, UTF-8 is written, as Python itself would.
    shown = b"\\u6570" if "PYTHONIOENCODING" in environment else "\u6570".encode()
    assert re.search(re.escape(shown) + rb"\.png: \w+ \(", one)
    rows = list(csv.DictReader(io.StringIO(batch.decode("latin-1"))))
    assert [Path(row["uri"]).name for row in rows] == ["000.png", "%C3%A9%E6%95%B0.png"]
    assert b"caf" in doctor
    assert b"Report: " in report
    assert (folder / "report" / "index.html").read_bytes().decode("utf-8")


def test_used_wrongly_ends_with_2(home: Path) -> None:
    (home / "empty").mkdir()
    (home / "file").write_text("")
    for arguments in (
        [],
        ["a.png", "--batch", "empty"],
        ["--batch", "empty"],
        ["--batch", "none"],
        ["--batch", "file"],
        ["a.png", "--dataset", "CIFAR10"],
    ):
        result = call("predict", *arguments)
        assert result.exit_code == 2, arguments
        assert "Traceback" not in result.output


def test_without_a_champion_it_says_how_to_get_one(home: Path) -> None:
    result = call("predict", "a.png")
    assert result.exit_code == 1
    assert "`mnist-ops champion` registers one" in result.stderr


def test_picture_in_the_terminal_has_the_pixels() -> None:
    pixels = images_of_test()[0]
    console = Console(force_terminal=True, color_system="truecolor", width=80)
    with console.capture() as captured:
        console.print(drawn(Picture(pixels, inverted=False)))
    lines = captured.get().rstrip().splitlines()
    assert len(lines) == 14
    for row, line in enumerate(lines):
        colours = re.findall(r"38;2;(\d+);\d+;\d+;48;2;(\d+)|▀", line)
        assert line.count("▀") == 28
        shown = {int(level) for pair in colours for level in pair if level}
        assert shown == set(pixels[2 * row : 2 * row + 2].ravel().tolist())


def test_picture_in_the_terminal_has_the_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4), dtype=np.uint8)
    console = Console(force_terminal=True, color_system="truecolor", width=80)
    with console.capture() as captured:
        console.print(drawn(Picture(pixels, inverted=False)))
    (first, _, last) = captured.get().rstrip().splitlines()
    above = ";".join(map(str, pixels[:, 0, 0]))
    below = ";".join(map(str, pixels[:, 1, 0]))
    assert f"38;2;{above};48;2;{below}" in first
    # Below the last of five rows there is nothing.
    assert f"38;2;{';'.join(map(str, pixels[:, 4, 0]))};48;2;0;0;0" in last
