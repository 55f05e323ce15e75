"""The comparison of trackers as one HTML page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...chart_style import style_of
from ..document import Sheet
from .results import TrackingEvaluation
from .tables import document

__all__ = ["page"]


def page(evaluation: TrackingEvaluation, charts: Mapping[str, bytes], sheets: Sequence[Sheet]) -> str:
    """Return the page.

    Args:
        evaluation: What to show.
        charts: PNG by title.
        sheets: Pictures, shown as they are.

    Raises:
        FusionError: Jinja2 is not installed.
    """
    colours = {tracker.name: style_of(index).colour for index, tracker in enumerate(evaluation.trackers)}
    return document(evaluation).page("tracking.html.j2", charts, sheets, colours=colours)
