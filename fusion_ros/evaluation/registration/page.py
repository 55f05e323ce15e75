"""The measurement of aligners as one HTML page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Sequence

from ..document import Sheet
from .results import AlignmentEvaluation
from .tables import document

__all__ = ["page"]

_CHART = "known part error by condition and aligner"
_BY_DISTANCE = "error by distance and aligner"


def page(evaluation: AlignmentEvaluation, chart: bytes, sheets: Sequence[Sheet]) -> str:
    """Return the page.

    Args:
        evaluation: What to show.
        chart: PNG of :func:`.plots.error_chart`; of rendered pairs, of :func:`.plots.distance_chart`.
        sheets: Pictures of one pair under one condition, shown as they are.

    Raises:
        FusionError: Jinja2 is not installed.
    """
    is_rendered = bool(evaluation.parallax)
    charts = {_BY_DISTANCE if is_rendered else _CHART: chart}
    return document(evaluation).page("alignment.html.j2", charts, sheets, is_rendered=is_rendered)
