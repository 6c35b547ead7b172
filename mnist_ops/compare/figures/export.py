"""Figures as files: interactive HTML, JSON, SVG and PNG."""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.figures.style import LEGEND, TITLE

FORMATS = ("html", "json", "svg", "png")
IMAGES = ("svg", "png")
FOLDER = "figures"
SCRIPT = f"{FOLDER}/plotly.min.js"
# List of the images, and what each was drawn from.
DRAWN = f"{FOLDER}/.drawn.json"

# What the script that draws needs to know of the layout.
ROOM = {"title": TITLE, "legend": LEGEND}

_WIDTH = 800
# PNGs have more pixels, for dense screens; twice as many would bring the report to 10 MB.
_SCALE = {"svg": 1, "png": 1.5}
_DRAWN_BY = ("kaleido", "choreographer", "plotly")
# Each tab of a browser takes about 100 MB.
_MOST_TABS = 4
START_TIMEOUT_S = 60.0
IMAGE_TIMEOUT_S = 60
_CLOSE_TIMEOUT_S = 10.0
_HOW = "install chromium, and `pip install kaleido`"

Log = Callable[[str], None]


@dataclass(frozen=True)
class Image:
    """A figure in one of the formats that a browser draws."""

    figure: Figure
    kind: str

    @property
    def options(self) -> dict[str, Any]:
        """Options of kaleido."""
        return {
            "format": self.kind,
            "width": _WIDTH,
            "height": self.figure.height,
            "scale": _SCALE[self.kind],
        }

    @cached_property
    def drawn_from(self) -> str:
        """SHA-256 of all that decides what it shows: the figure, the options, the versions."""
        decides = [self.figure.stem, self.figure.json, self.options, _versions()]
        return _sha256(json.dumps(decides, sort_keys=True).encode())


def export(
    figures: Sequence[Figure],
    log: Log,
    formats: Sequence[str] = FORMATS,
    before: Path | None = None,
) -> dict[str, bytes]:
    """Return the figures as files: path below the report's folder -> content.

    HTML files share one copy of plotly.js, which the report's page loads as well, so it is there
    whatever the formats. Images need kaleido and a Chrome: without them they are left out, and
    `log` gets one line on how to get them. An image of an earlier report is kept if the same figure
    would be drawn in the same way, by the list `DRAWN` of what each was drawn from.

    Args:
        figures: each with a stem of its own.
        log: gets a line for people.
        formats: of `FORMATS`.
        before: folder of the earlier report; None draws every image.
    """
    files: dict[str, bytes] = {}
    if not figures:
        return files
    files[SCRIPT] = get_plotlyjs().encode()
    for figure in figures:
        if "html" in formats:
            files[_name(figure, "html")] = _html(figure).encode()
        if "json" in formats:
            files[_name(figure, "json")] = figure.json.encode()
    images = {
        _name(figure, kind): Image(figure, kind)
        for figure in figures
        for kind in IMAGES
        if kind in formats
    }
    if images:
        kept = _kept(images, before)
        files |= kept
        try:
            if wanted := {name: image for name, image in images.items() if name not in kept}:
                files |= _drawn(wanted)
        # Whatever keeps a browser from starting or drawing, the report is as good without.
        except Exception as error:
            log(f"no SVG and PNG figures, {_reason(error)}: {_HOW}")
        drawn = {
            name: {"drawn_from": image.drawn_from, "sha256": _sha256(files[name])}
            for name, image in sorted(images.items())
            if name in files
        }
        if drawn:
            files[DRAWN] = json.dumps(drawn, indent=1).encode()
    return files


def inline_json(figure: Figure) -> str:
    """Return the JSON of a figure, safe inside a script element whatever the texts in it."""
    return figure.json.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _reason(error: Exception) -> str:
    """Why there are no images, in a few words: kaleido's own are paragraphs."""
    if isinstance(error, ImportError):
        return "as kaleido is not installed"
    if type(error).__name__ == "ChromeNotFoundError":
        return "as no Chrome or Chromium is found"
    return f"as the browser failed ({type(error).__name__})"


def _name(figure: Figure, kind: str) -> str:
    return f"{FOLDER}/{figure.stem}.{kind}"


def _html(figure: Figure) -> str:
    environment = Environment(
        loader=PackageLoader("mnist_ops.compare"), autoescape=True, undefined=StrictUndefined
    )
    template = environment.get_template("figure.html.j2")
    return template.render(figure=figure, data=inline_json(figure), room=ROOM)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _versions() -> dict[str, str]:
    """Return the versions of the packages that draw; empty where one is not installed."""
    try:
        return {name: metadata.version(name) for name in _DRAWN_BY}
    except metadata.PackageNotFoundError:
        return {}


def _kept(images: Mapping[str, Image], before: Path | None) -> dict[str, bytes]:
    """Return those images of an earlier report that would be drawn from the same as now.

    Its list may be damaged, and a file may have been changed since; such images are drawn anew.
    """
    if before is None or not _versions():
        return {}
    try:
        drawn = json.loads((before / DRAWN).read_bytes())
        listed = {name: (each["drawn_from"], each["sha256"]) for name, each in drawn.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    kept = {}
    for name, image in images.items():
        drawn_from, digest = listed.get(name, (None, None))
        if drawn_from == image.drawn_from:
            with contextlib.suppress(OSError):
                content = (before / name).read_bytes()
                if _sha256(content) == digest:
                    kept[name] = content
    return kept


class AnswerLost(Exception):
    """The browser drew no image for too long: it is gone, or what it said is."""


def _drawn(images: Mapping[str, Image]) -> dict[str, bytes]:
    """Return the images; another browser draws them where the first dies or an answer is lost."""
    # An extra, as kaleido is: it brings this.
    from choreographer.errors import BrowserClosedError, BrowserFailedError, ChannelClosedError

    try:
        return _drawn_once(images)
    except (AnswerLost, BrowserClosedError, BrowserFailedError, ChannelClosedError):
        return _drawn_once(images)


def _drawn_once(images: Mapping[str, Image]) -> dict[str, bytes]:
    """Return the images, drawn by one browser.

    Raises:
        AnswerLost: an answer of it is lost.
        RuntimeError: choreographer's, that it died; or an image came out empty.
        OSError: choreographer's, that it died.
    """
    try:
        return asyncio.run(_draw(images))
    # The browser's library cancels whatever waits for a browser that died.
    except asyncio.CancelledError as error:
        raise AnswerLost from error


async def _draw(images: Mapping[str, Image]) -> dict[str, bytes]:
    """Return the images, drawn by one browser in as many tabs as there are processors."""
    # An extra: the report is written without it.
    from kaleido import Kaleido

    tabs = min(len(images), os.cpu_count() or 1, _MOST_TABS)
    browser = Kaleido(n=tabs, timeout=IMAGE_TIMEOUT_S, mathjax=False)
    others = set(psutil.Process().children(recursive=True))
    try:
        with _killed_after(START_TIMEOUT_S, others):
            # Where the browser is gone already, killing it ends no wait.
            async with asyncio.timeout(START_TIMEOUT_S + _CLOSE_TIMEOUT_S):
                await browser.open()
        tasks = [asyncio.create_task(_image(browser, image)) for image in images.values()]
        try:
            await _all_done(tasks)
        finally:
            # After the first failure the others would wait for a browser that is gone.
            for task in tasks:
                task.cancel()
            # Their errors are looked at, or asyncio would print them.
            ended = asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.wait([ended], timeout=_CLOSE_TIMEOUT_S)
        return {name: task.result() for name, task in zip(images, tasks, strict=True)}
    finally:
        with _killed_after(_CLOSE_TIMEOUT_S, others), contextlib.suppress(Exception):
            async with asyncio.timeout(2 * _CLOSE_TIMEOUT_S):
                await browser.close()


async def _all_done(tasks: Collection[asyncio.Task[bytes]]) -> None:
    """Wait for `tasks`; raise the first error.

    Kaleido's own limit does not count the wait for a tab, which has no end once the tabs are gone.

    Raises:
        AnswerLost: none ended for too long.
    """
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(
            pending, timeout=IMAGE_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            raise AnswerLost
        for task in done:
            try:
                task.result()
            except TimeoutError as error:
                raise AnswerLost from error


@contextmanager
def _killed_after(limit_s: float, others: set[psutil.Process]) -> Iterator[None]:
    """Kill the browser unless the block ends in time: whatever waits for it then goes on.

    Args:
        limit_s: seconds.
        others: child processes that are not the browser's.
    """

    def kill() -> None:
        for process in set(psutil.Process().children(recursive=True)) - others:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    timer = threading.Timer(limit_s, kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


async def _image(browser: Any, image: Image) -> bytes:
    drawing = json.loads(image.figure.json)
    for place, trace in enumerate(drawing["data"]):
        # One drawn by lot would be in the picture.
        trace["uid"] = f"{place:06x}"
    content: bytes = await browser.calc_fig(drawing, opts=image.options)
    if not content:
        raise RuntimeError(f"{image.figure.stem}.{image.kind} came out empty")
    return _same_ids(content, image.figure) if image.kind == "svg" else content


def _same_ids(svg: bytes, figure: Figure) -> bytes:
    """Return the picture with ids made of the stem in place of plotly's random ones."""
    text = svg.decode()
    lot = re.search(r'id="defs-([0-9a-f]{6})"', text)
    if lot:
        name = figure.stem.replace("-", "")
        text = re.sub(rf"\b(defs-|topdefs-|clip|legend|g){lot[1]}", rf"\g<1>{name}", text)
    return text.encode()
