"""The measurement of aligners as one HTML page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Sequence

from ..document import Sheet
from .results import AlignmentEvaluation
from .tables import document

__all__ = ["page"]

_CHART = "known part error by condition and aligner"


def page(evaluation: AlignmentEvaluation, chart: bytes, sheets: Sequence[Sheet]) -> str:
    """Return the page.

    Args:
        evaluation: What to show.
        chart: PNG of :func:`.plots.error_chart`.
        sheets: Pictures of one pair under one condition, shown as they are.

    Raises:
        FusionError: Jinja2 is not installed.
    """
    return document(evaluation).page("alignment.html.j2", {_CHART: chart}, sheets)
