"""``mnist-ops predict``: classify image files with a registered model."""

import csv
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.table import Table
from rich.text import Text

from mnist_ops.cli.options import answer, json_option, log
from mnist_ops.cli.terminal import console
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.core.escaping import field, file_uri
from mnist_ops.study import lookup

if TYPE_CHECKING:
    from mnist_ops.serving.inference import Classifier
    from mnist_ops.serving.inference.preprocessing import Picture

# As many as a model computes at a time.
BATCH = 256
WHY_UNLIKE = {
    "pattern": "it has patterns that they have not",
    "neighbour": "its shape is like none of them",
    "contrast": "it has hardly any contrast",
    "recognition": "the model recognises little in it",
}
# Of a terminal that has room for the picture and for the lines beside it.
_PICTURE_COLUMNS = 64
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
    default=next(iter(lookup.ours("datasets"))),
    show_default=True,
    help="The data set of what the images show: digits, clothes.",
)
@click.option(
    "--alias", default="champion", show_default=True, help="Which version of the model to use."
)
@json_option
def predict(
    images: tuple[Path, ...], batch: Path | None, dataset: str, alias: str, as_json: bool
) -> None:
    """Classify IMAGES, of any size and colours, with a registered model.

    Says so where an image looks unlike those that the model was trained on. Dark-on-light images
    are inverted. `mnist-ops champion` registers the models.

    A program finds a file, whatever bytes are in its name, by the field `uri` of JSON and CSV: its
    file: address, percent-encoded. `file` is for people.
    """
    if bool(images) == (batch is not None):
        raise InvalidInput("give either image files, or a folder with --batch")
    files = list(images) if batch is None else _files_in(batch)
    classifier = _classifier(dataset, alias)
    failed = 0
    printer = _JsonLines() if as_json else _Csv() if batch else _ForPeople()
    for start in range(0, len(files), BATCH):
        rows = list(_rows(classifier, files[start : start + BATCH], dataset))
        for row in rows:
            if row.error is not None:
                failed += 1
                log(f"mnist-ops: {row.error}")
        printer.print(rows)
    if failed:
        raise MnistOpsError(f"{failed} of {len(files)} images could not be classified")


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
            raise MnistOpsError(
                f"there is no {alias} of {model} in {tracking.without_password(uri)}: "
                "`mnist-ops champion` registers one"
            )
        with tempfile.TemporaryDirectory() as folder:
            classifier = Classifier.load(registry.fetch(client, version, Path(folder)))
    if classifier.description.spec.dataset != dataset:
        raise MnistOpsError(f"version {version.number} of {model} is not of {dataset}")
    return classifier


def _rows(classifier: "Classifier", files: Sequence[Path], dataset: str) -> Iterator[Row]:
    """Return one row a file, in the files' order."""
    from mnist_ops.serving.inference import preprocessing

    read: dict[int, Picture] = {}
    errors: dict[int, str] = {}
    for number, path in enumerate(files):
        try:
            read[number] = preprocessing.read(path, dataset)
        except preprocessing.UnreadableImage as error:
            errors[number] = str(error)
    answers = classifier.answer(
        np.stack([picture.pixels for picture in read.values()])
        if read
        else np.empty((0, *classifier.description.spec.data.image_size), np.uint8)
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
            shades = terminal.is_terminal and not terminal.no_color and terminal.encoding == "utf-8"
            if not shades or terminal.is_dumb_terminal or terminal.width < _PICTURE_COLUMNS:
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
    for top in range(0, len(picture.pixels), 2):
        for above, below in zip(*picture.pixels[top : top + 2].tolist(), strict=True):
            text.append("▀", style=f"rgb({above},{above},{above}) on rgb({below},{below},{below})")
        text.append("\n")
    text.rstrip()
    return text
