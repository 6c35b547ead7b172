"""Parts of the report in somebody's Markdown file.

Each stands between two comments, on lines of their own, and is replaced there: the rest of the file
is its author's.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from mnist_ops.compare.files import publish
from mnist_ops.core.errors import InvalidInput

# What can stand in a file: the best results alone, all results, what the study could not show.
SUMMARY = "summary"
RESULTS = "results"
BEYOND = "beyond"
NAMES = (SUMMARY, RESULTS, BEYOND)


def marks(name: str) -> tuple[str, str]:
    """Return the comments around the section called `name`."""
    return f"<!-- mnist-ops {name} -->", f"<!-- end of mnist-ops {name} -->"


def sections_in(path: Path) -> list[str]:
    """Return the sections that the file at `path` has marks for, in their order.

    Raises:
        InvalidInput: the file cannot be read, has none, or marks that are no pairs.
    """
    return [name for name, _, _ in _found(path, _lines(path), NAMES)]


def replace_sections(path: Path, texts: Mapping[str, str]) -> None:
    """Put each text between the marks of its section in the file at `path`.

    Raises:
        InvalidInput: as `sections_in`.
        CannotWrite: it cannot be written; it is as it was.
    """
    lines = _lines(path)
    new: list[str] = []
    end = 0
    for name, begin, next_end in _found(path, lines, texts):
        new += [*lines[end : begin + 1], "\n", texts[name], "\n"]
        end = next_end
    publish({path.name: "".join([*new, *lines[end:]]).encode()}, path.parent)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is no text in UTF-8") from None


def _found(path: Path, lines: list[str], known: Collection[str]) -> list[tuple[str, int, int]]:
    """Name, line of the first mark and line of the second of each section."""
    wanted = {mark: name for name in known for mark in marks(name)}
    places = [(n, line.strip()) for n, line in enumerate(lines) if line.strip() in wanted]
    names = [wanted[mark] for _, mark in places[::2]]
    pairs = [mark for name in dict.fromkeys(names) for mark in marks(name)]
    if not places or [mark for _, mark in places] != pairs:
        first, *others = sorted(known, key=lambda name: name != RESULTS)
        begin, end = marks(first)
        also = f"; or such with {' or '.join(others)} for {first}" if others else ""
        raise InvalidInput(
            f"{path} needs the lines {begin} and {end}, once each, in this order{also}"
        )
    return [
        (name, first, second)
        for name, (first, _), (second, _) in zip(names, places[::2], places[1::2], strict=True)
    ]
