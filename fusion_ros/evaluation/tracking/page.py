"""The comparison of trackers as one HTML page that needs nothing beside itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...chart_style import style_of
from ...errors import FusionError
from ...imaging import compressed_data
from ..registration.page import Sheet
from .results import TrackingEvaluation
from .tables import tables

__all__ = ["page"]

_FOLDER = Path(__file__).parents[1]
_QUALITY = 85


def page(evaluation: TrackingEvaluation, charts: Mapping[str, bytes], sheets: Sequence[Sheet]) -> str:
    """Return the page.

    Args:
        evaluation: What to show.
        charts: PNG by title.
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
    return environment.get_template("tracking.html.j2").render(
        style=(_FOLDER / "report.css").read_text(encoding="utf-8"),
        tables=tables(evaluation),
        charts=[(title, _data_url(chart, "png")) for title, chart in charts.items()],
        sheets=[
            (sheet.title, _data_url(compressed_data(sheet.image, "jpeg", _QUALITY), "jpeg")) for sheet in sheets
        ],
        colours={tracker.name: style_of(index).colour for index, tracker in enumerate(evaluation.trackers)},
        trackers=evaluation.trackers,
        problems=evaluation.problems,
        facts=list(evaluation.facts.items()),
    )


def _data_url(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
