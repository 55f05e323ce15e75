"""How all charts look: colours, line styles, and matplotlib's settings.

The colours are those of Okabe and Ito, "Color Universal Design", 2008, which people with any kind of colour vision
can tell apart, without the yellow, which is too light for a line, and with a grey for the black. Beyond seven
series the lines are dashed, then dotted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

__all__ = ["AXES", "FAINT", "INK", "Look", "style_of"]

INK = "#3b4149"
"""Colour of texts and ticks; whoever shows charts on a dark ground may replace it."""
FAINT = "#d9dde2"
"""Colour of the grid; likewise."""
AXES: Mapping[str, Any] = MappingProxyType(
    {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "text.parse_math": False,  # names may hold a dollar sign
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "grid.color": FAINT,
        "grid.linewidth": 0.7,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "ytick.major.size": 0.0,
    }
)
"""matplotlib's rcParams that all charts share: a light grid, an axis below, no frame."""

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7f7f7f")
_DASHES = ("solid", "dashed", "dotted")


@dataclass(frozen=True)
class Look:
    """What a series is drawn with: a colour, and ``solid``, ``dashed`` or ``dotted``."""

    colour: str
    dash: str


def style_of(index: int) -> Look:
    """Return the look of a series by its place among all."""
    return Look(_COLOURS[index % len(_COLOURS)], _DASHES[index // len(_COLOURS) % len(_DASHES)])
