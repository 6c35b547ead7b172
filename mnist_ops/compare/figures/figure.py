"""What a figure is: numbers, and a drawing of them."""

from dataclasses import dataclass

import pandas as pd
from plotly import graph_objects as go


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
