"""Figures as files: interactive HTML, JSON, SVG and PNG."""

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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

# What the script that draws needs to know of the layout.
ROOM = {"title": TITLE, "legend": LEGEND}

_FOREIGN_TAG = re.compile("<(?!/?(?:br|i|extra)>)")

_WIDTH = 800
# PNGs have more pixels, for dense screens; twice as many would bring the report to 10 MB.
_SCALE = {"svg": 1, "png": 1.5}
START_TIMEOUT_S = 60.0
_IMAGE_TIMEOUT_S = 60
_CLOSE_TIMEOUT_S = 10.0
_HOW = "install chromium, and `pip install kaleido`"

Log = Callable[[str], None]


def export(
    figures: Sequence[Figure], log: Log, formats: Sequence[str] = FORMATS
) -> dict[str, bytes]:
    """Return the figures as files: path below the report's folder -> content.

    HTML files share one copy of plotly.js, which the report's page loads as well, so it is there
    whatever the formats. Images need kaleido and a Chrome: without them they are left out, and
    `log` gets one line on how to get them.

    Args:
        figures: each with a stem of its own.
        log: gets a line for people.
        formats: of `FORMATS`.
    """
    files: dict[str, bytes] = {}
    if not figures:
        return files
    files[SCRIPT] = get_plotlyjs().encode()
    for figure in figures:
        if "html" in formats:
            files[_name(figure, "html")] = _html(figure).encode()
        if "json" in formats:
            files[_name(figure, "json")] = to_json(figure).encode()
    wanted = [kind for kind in IMAGES if kind in formats]
    if wanted:
        try:
            files |= asyncio.run(_images(figures, wanted))
        # Whatever keeps a browser from starting or drawing, the report is as good without.
        except Exception as error:
            log(f"no SVG and PNG figures, {_reason(error)}: {_HOW}")
    return files


def to_json(figure: Figure) -> str:
    """Data and layout as plotly.js reads them; the same text for the same figure, always.

    Of what plotly.js takes for HTML in a text, only what our own texts use is left.
    """
    read = json.loads(figure.drawing.to_json(engine="json"))
    text = json.dumps(read, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return _FOREIGN_TAG.sub("&lt;", text)


def inline_json(figure: Figure) -> str:
    """As `to_json`, safe inside a script element whatever the texts in it."""
    text = to_json(figure)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


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


async def _images(figures: Sequence[Figure], kinds: Sequence[str]) -> Mapping[str, bytes]:
    """Return every figure in every format, drawn by one browser."""
    # An extra: the report is written without it.
    from kaleido import Kaleido

    browser = Kaleido(n=1, timeout=_IMAGE_TIMEOUT_S, mathjax=False)
    others = set(psutil.Process().children(recursive=True))
    try:
        with _killed_after(START_TIMEOUT_S, others):
            await browser.open()
        return {
            _name(figure, kind): await _image(browser, figure, kind)
            for figure in figures
            for kind in kinds
        }
    finally:
        with _killed_after(_CLOSE_TIMEOUT_S, others), contextlib.suppress(Exception):
            await browser.close()


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


async def _image(browser: Any, figure: Figure, kind: str) -> bytes:
    options = {
        "format": kind,
        "width": _WIDTH,
        "height": figure.height,
        "scale": _SCALE[kind],
    }
    drawing = json.loads(to_json(figure))
    for place, trace in enumerate(drawing["data"]):
        # One drawn by lot would be in the picture.
        trace["uid"] = f"{place:06x}"
    content: bytes = await browser.calc_fig(drawing, opts=options)
    if not content:
        raise RuntimeError(f"{figure.stem}.{kind} came out empty")
    return _same_ids(content, figure) if kind == "svg" else content


def _same_ids(svg: bytes, figure: Figure) -> bytes:
    """Return the picture with ids made of the stem in place of plotly's random ones."""
    text = svg.decode()
    lot = re.search(r'id="defs-([0-9a-f]{6})"', text)
    if lot:
        name = figure.stem.replace("-", "")
        text = re.sub(rf"\b(defs-|topdefs-|clip|legend|g){lot[1]}", rf"\g<1>{name}", text)
    return text.encode()
