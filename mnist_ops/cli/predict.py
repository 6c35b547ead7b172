"""``mnist-ops predict``: classify image files with a registered model."""

import csv
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.table import Table
from rich.text import Text

from mnist_ops.cli.options import answer, json_option, log, study_option
from mnist_ops.cli.terminal import console
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.core.escaping import field, file_uri
from mnist_ops.study import lookup
from mnist_ops.study.grids import Study
from mnist_ops.study.model import OtherCode

if TYPE_CHECKING:
    from mnist_ops.serving.inference import Classifier
    from mnist_ops.serving.inference.preprocessing import Picture

_FIRST = next(iter(lookup.ours("datasets")))
# As many as a model computes at a time.
BATCH = 256
WHY_UNLIKE = {
    "pattern": "it has patterns that they have not",
    "neighbour": "its shape is like none of them",
    "contrast": "it has hardly any contrast",
    "recognition": "the model recognises little in it",
}
# Of a terminal that has room for the lines beside a picture.
_LINES_COLUMNS = 36
COLUMNS = ("file", "class", "class_name", "probability", "unlike", "inverted", "error", "uri")


@dataclass(frozen=True)
class Row:
    """What is said of one file.

    Attributes:
        file: as the user named it, for people.
        uri: its address, with every byte of its name.
        picture: what the model saw; None where the file cannot be read.
        answer: class, class name, probability of each class and what is unlike the training
            images; empty where the file cannot be read.
        error: why it cannot be read; None where it can.
    """

    file: str
    uri: str
    picture: "Picture | None" = None
    answer: dict[str, Any] | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the row as JSON types."""
        picture = self.picture
        return {
            "file": self.file,
            **(self.answer or {}),
            "inverted": picture.inverted if picture else None,
            "error": self.error,
            "uri": self.uri,
        }


@click.command()
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--batch",
    type=click.Path(file_okay=False, path_type=Path),
    help="Classify every image file of this folder; prints CSV, or JSON lines with --json.",
)
@click.option(
    "--dataset",
    help="The data set of what the images show: digits, clothes.  [default: that of --study, or "
    f"else {_FIRST}]",
)
@study_option("The study whose network is to be used: FILE.py, FILE.py:NAME or MODULE:NAME.")
@click.option(
    "--alias", default="champion", show_default=True, help="Which version of the model to use."
)
@json_option
def predict(
    images: tuple[Path, ...],
    batch: Path | None,
    dataset: str | None,
    studies: list[Study],
    alias: str,
    as_json: bool,
) -> None:
    """Classify IMAGES, of any size and colours, with a registered model.

    Says so where an image looks unlike those that the model was trained on. Dark-on-light digits
    and clothes are inverted. `mnist-ops champion` registers the models.

    A program finds a file, whatever bytes are in its name, by the field `uri` of JSON and CSV: its
    file: address, percent-encoded. `file` is for people.
    """
    if bool(images) == (batch is not None):
        raise InvalidInput("give either image files, or a folder with --batch")
    files = list(images) if batch is None else _files_in(batch)
    classifier = _classifier(dataset or _dataset_of(studies), alias)
    failed = 0
    printer = _JsonLines() if as_json else _Csv() if batch else _ForPeople()
    for start in range(0, len(files), BATCH):
        rows = list(_rows(classifier, files[start : start + BATCH]))
        for row in rows:
            if row.error is not None:
                failed += 1
                log(f"mnist-ops: {row.error}")
        printer.print(rows)
    if failed:
        raise MnistOpsError(f"{failed} of {len(files)} images could not be classified")


def _dataset_of(studies: Sequence[Study]) -> str:
    """Return the one data set of the studies, or the published study's first without any."""
    found = list(dict.fromkeys(name for study in studies for name in study.datasets)) or [_FIRST]
    if len(found) > 1:
        raise InvalidInput(f"--dataset is needed: the study has {', '.join(found)}")
    return found[0]


def _files_in(folder: Path) -> list[Path]:
    from mnist_ops.serving.inference.preprocessing import SUFFIXES

    if not folder.is_dir():
        raise InvalidInput(f"--batch takes a folder, and {folder} is none")
    there = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in there if path.suffix.lower() in SUFFIXES]
    if not files:
        raise InvalidInput(f"{folder} has no image file ({', '.join(sorted(SUFFIXES))})")
    if len(files) < len(there):
        log(f"{folder}: {len(there) - len(files)} without an image's suffix left out")
    return files


def _classifier(dataset: str, alias: str) -> "Classifier":
    from mnist_ops import tracking
    from mnist_ops.serving import registry
    from mnist_ops.serving.inference import Classifier

    uri = tracking.default_uri()
    client = tracking.connect(uri, create=False)
    model = registry.registered_model(dataset)
    with tracking.tracking_errors(uri):
        version = registry.aliased(client, model, alias)
        if version is None:
            is_own = dataset not in (known := lookup.known("datasets"))
            if is_own and not lookup.is_registered("datasets", dataset):
                raise InvalidInput.not_one_of("dataset", dataset, known)
            raise MnistOpsError(
                f"there is no {alias} of {model} in {tracking.without_password(uri)}: "
                f"`mnist-ops champion{' --study FILE.py' if is_own else ''}` registers one"
            )
        with tempfile.TemporaryDirectory() as folder:
            files = registry.fetch(client, version, Path(folder))
            try:
                classifier = Classifier.load(files)
            except OtherCode as error:
                raise MnistOpsError(
                    f"version {version.number} of {model} cannot be used: {error}"
                ) from None
    if classifier.description.spec.dataset != dataset:
        raise MnistOpsError(f"version {version.number} of {model} is not of {dataset}")
    return classifier


def _rows(classifier: "Classifier", files: Sequence[Path]) -> Iterator[Row]:
    """Return one row a file, in the files' order."""
    from mnist_ops.serving.inference import preprocessing

    like = classifier.description.data
    read: dict[int, Picture] = {}
    errors: dict[int, str] = {}
    for number, path in enumerate(files):
        try:
            read[number] = preprocessing.read(path, like)
        except preprocessing.UnreadableImage as error:
            errors[number] = str(error)
    answers = classifier.answer(
        np.stack([picture.pixels for picture in read.values()])
        if read
        else np.empty((0, *like.array_shape), np.uint8)
    )
    names = classifier.description.class_names
    place = {number: row for row, number in enumerate(read)}
    for number, path in enumerate(files):
        if number in errors:
            yield Row(_shown(path), file_uri(path), error=_shown(errors[number]))
            continue
        row = place[number]
        found = int(answers.classes[row])
        probabilities = [round(float(p), 6) for p in answers.probabilities[row]]
        answer = {
            "class": found,
            "class_name": names[found],
            "probability": probabilities[found],
            "probabilities": dict(zip(names, probabilities, strict=True)),
            "unlike": list(answers.alarms[row]),
        }
        yield Row(_shown(path), file_uri(path), read[number], answer)


def _shown(text: str | Path) -> str:
    """Return a file's name, which may have any bytes, as one printable line."""
    known = str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "�" for character in known)


class _JsonLines:
    """An object a file and line."""

    def print(self, rows: Sequence[Row]) -> None:
        for row in rows:
            click.echo(json.dumps(row.as_dict()))


class _Csv:
    """A line a file, after one of names."""

    def __init__(self) -> None:
        self._writer = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore")
        self._writer.writeheader()

    def print(self, rows: Sequence[Row]) -> None:
        for row in rows:
            fields = row.as_dict()
            fields["unlike"] = " ".join(fields.get("unlike", ()))
            safe = {k: field(v) if isinstance(v, str) else v for k, v in fields.items()}
            self._writer.writerow(safe)
        sys.stdout.flush()


class _ForPeople:
    """Lines, and on a terminal the picture that the model saw."""

    def print(self, rows: Sequence[Row]) -> None:
        terminal = console(stderr=False)
        for row in rows:
            if row.answer is None or row.picture is None:
                continue
            lines = _lines(row)
            # The picture is made of shades, which need colours and room beside the lines.
            needed = row.picture.pixels.shape[-1] + _LINES_COLUMNS
            shades = terminal.is_terminal and not terminal.no_color and terminal.encoding == "utf-8"
            if not shades or terminal.is_dumb_terminal or terminal.width < needed:
                for line in (lines[0], *(f"  {line}" for line in lines[1:])):
                    answer(line)
                continue
            grid = Table.grid(padding=(0, 2))
            grid.add_row(drawn(row.picture), _told(row, lines))
            terminal.print(grid)
            terminal.print()


def _lines(row: Row) -> list[str]:
    assert row.answer is not None
    assert row.picture is not None
    lines = [f"{row.file}: {row.answer['class_name']} ({row.answer['probability']:.1%})"]
    if row.picture.inverted:
        lines.append("dark on light: inverted")
    if unlike := row.answer["unlike"]:
        why = "; ".join(WHY_UNLIKE[name] for name in unlike)
        lines.append(f"looks unlike the training images: {why}")
    return lines


def _told(row: Row, lines: Sequence[str]) -> Text:
    """Return the lines on a file, with a bar for each of its three likeliest classes."""
    assert row.answer is not None
    told = Text()
    told.append(f"{row.file}\n", style="bold")
    told.append("\n")
    likeliest = sorted(row.answer["probabilities"].items(), key=lambda each: -each[1])[:3]
    width = max(len(label) for label, _ in likeliest)
    for label, probability in likeliest:
        first = label == row.answer["class_name"]
        told.append(f"{label:{width}} ", style="bold" if first else "")
        told.append(f"{probability:6.1%} ", style="bold" if first else "dim")
        told.append("█" * round(20 * probability) + "\n", style="green" if first else "dim")
    for note in lines[1:]:
        told.append("\n" + note, style="yellow")
    return told


def drawn(picture: "Picture") -> Text:
    """Return the image as lines of half blocks, two pixels each."""
    text = Text(no_wrap=True)
    pixels = picture.pixels if picture.pixels.ndim == 3 else picture.pixels[None].repeat(3, axis=0)
    lines = np.moveaxis(pixels, 0, 2).tolist()
    for above, below in zip_longest(lines[::2], lines[1::2], fillvalue=[(0, 0, 0)] * len(lines[0])):
        for top, bottom in zip(above, below, strict=True):
            colours = ("rgb({},{},{})".format(*pixel) for pixel in (top, bottom))
            text.append("▀", style=" on ".join(colours))
        text.append("\n")
    text.rstrip()
    return text
