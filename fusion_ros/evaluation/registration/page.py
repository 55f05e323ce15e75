"""The measurement of aligners as one HTML page that needs nothing beside itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import FusionError
from ...imaging import compressed_data
from .results import AlignmentEvaluation
from .tables import tables

__all__ = ["Sheet", "page"]

_FOLDER = Path(__file__).parents[1]
_QUALITY = 85


@dataclass(frozen=True, eq=False)
class Sheet:
    """Pictures of one pair under one condition.

    Attributes:
        title: Pair and condition.
        image: ``(H, W, 3)`` uint8 RGB.
    """

    title: str
    image: np.ndarray


def page(evaluation: AlignmentEvaluation, chart: bytes, sheets: Sequence[Sheet]) -> str:
    """Return the page.

    Args:
        evaluation: What to show.
        chart: PNG of :func:`.plots.error_chart`.
        sheets: Pictures, shown as they are.

    Raises:
        FusionError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise FusionError("the report needs Jinja2, which is not installed: pip install jinja2") from error

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("alignment.html.j2").render(
        style=(_FOLDER / "report.css").read_text(encoding="utf-8"),
        tables=tables(evaluation),
        chart=_data_url(chart, "png"),
        sheets=[
            (sheet.title, _data_url(compressed_data(sheet.image, "jpeg", _QUALITY), "jpeg")) for sheet in sheets
        ],
        aligners=evaluation.aligners,
        problems=evaluation.problems,
        facts=list(evaluation.facts.items()),
    )


def _data_url(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
