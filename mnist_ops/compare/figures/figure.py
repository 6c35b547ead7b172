"""What a figure is: numbers, and a drawing of them."""

import json
import re
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from plotly import graph_objects as go

_FOREIGN_TAG = re.compile("<(?!/?(?:br|i|extra)>)")


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Attributes:
        stem: its file name without its ending.
        title: in one line, no full stop.
        caption: what is drawn and how to read it, one or two sentences.
        alt: what somebody who cannot see it should know.
        frame: the numbers that are drawn, and no others.
        drawing: the frame, drawn.
    """

    stem: str
    title: str
    caption: str
    alt: str
    frame: pd.DataFrame
    drawing: go.Figure

    @property
    def number(self) -> str:
        """Its number in the study, ``2a`` for example; empty for those beyond it."""
        head, _, number = self.stem.rpartition("-")
        return number.lstrip("0") if head == "figure" else ""

    @property
    def height(self) -> int:
        """Pixels that the drawing needs, at any width."""
        return int(self.drawing.layout.height)

    @cached_property
    def json(self) -> str:
        """Data and layout as plotly.js reads them; the same text for the same figure, always.

        Of what plotly.js takes for HTML in a text, only what our own texts use is left.
        """
        read = json.loads(self.drawing.to_json(engine="json"))
        text = json.dumps(read, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return _FOREIGN_TAG.sub("&lt;", text)
