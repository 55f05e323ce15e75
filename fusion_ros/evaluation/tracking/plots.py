"""Success and precision of trackers, and what shifts between the cameras do to them, as charts."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...chart_style import AXES, style_of
from ...errors import FusionError
from ..results import AS_RECORDED
from .results import CURVES, Summary, TrackingEvaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["curve_chart", "stress_chart", "stress_kinds"]

_DPI = 150
_PANEL = (3.4, 3.2)  # inches
_LABELS = {
    "success": "overlap above",
    "precision": "centre within, px",
    "normalised precision": "centre within, target sizes",
}
_BAND = 0.14  # opacity of an interval


def curve_chart(evaluation: TrackingEvaluation, condition: str = AS_RECORDED) -> bytes:
    """Return the curves of success, precision and normalised precision as PNG, a line a tracker.

    Raises:
        FusionError: matplotlib is not installed.
    """

    def draw(panels: Sequence[Axes]) -> None:
        for axes, name in zip(panels, CURVES, strict=True):
            for index, tracker in enumerate(evaluation.trackers):
                thresholds, shares = evaluation.curve(tracker.name, condition, name)
                _line(axes, index, thresholds, 100.0 * shares, tracker.name)
            axes.set_xlabel(_LABELS[name])
            axes.set_xlim(0.0, thresholds[-1])
            axes.set_ylim(0.0, 102.0)
            axes.set_title(name, fontsize="medium")
        panels[0].set_ylabel("frames, %")

    return _chart(draw, len(CURVES))


def stress_kinds(evaluation: TrackingEvaluation) -> list[str]:
    """Return the kinds of alterations, in order."""
    return list(dict.fromkeys(c.facts.kind for c in evaluation.conditions if c.stress is not None))


def stress_chart(evaluation: TrackingEvaluation) -> bytes:
    """Return success against the level of each kind of alteration as PNG, a line a tracker, with 95 % intervals.

    The recording itself is at level 0 of a misalignment. Of a degradation, not every kind has such a level; there
    the levels are evenly spaced behind the recording.

    Raises:
        FusionError: matplotlib is not installed.
    """
    kinds = stress_kinds(evaluation)

    def draw(panels: Sequence[Axes]) -> None:
        for axes, kind in zip(panels, kinds, strict=True):
            _stress_panel(axes, evaluation, kind)
            axes.set_ylim(0.0, 102.0)
        panels[0].set_ylabel("success, %")

    return _chart(draw, len(kinds))


def _stress_panel(axes: Axes, evaluation: TrackingEvaluation, kind: str) -> None:
    facts = [c.facts for c in evaluation.conditions if c.stress is not None and c.facts.kind == kind]
    facts.sort(key=lambda f: -f.level if f.worse_is_lower else f.level)
    names = [AS_RECORDED, *(f.name for f in facts)]
    is_metric = facts[0].is_misalignment
    at = [0.0, *(f.level for f in facts)] if is_metric else list(range(len(names)))
    for index, tracker in enumerate(evaluation.trackers):
        found = [evaluation.summary(tracker.name, name) for name in names]
        _line(axes, index, np.array(at), 100.0 * np.array([s.success for s in found]), tracker.name, marker="o")
        _band(axes, index, np.array(at), found)
    axes.set_xticks(at, ["0", *(f"{f.level:g}" for f in facts)] if is_metric else
                    [AS_RECORDED, *(f"{f.level:g}" for f in facts)])  # fmt: skip
    axes.set_xlabel(", ".join(filter(None, [kind.replace("_", " "), facts[0].unit])))


def _line(axes: Axes, index: int, x: np.ndarray, y: np.ndarray, name: str, marker: str = "") -> None:
    look = style_of(index)
    axes.plot(
        x, y, color=look.colour, linestyle=look.dash, linewidth=1.6, marker=marker, markersize=4.0, label=name
    )


def _band(axes: Axes, index: int, x: np.ndarray, found: Sequence[Summary]) -> None:
    low, high = (100.0 * np.array([getattr(s, f"success_{end}") for s in found]) for end in ("low", "high"))
    if np.isfinite([*low, *high]).all():
        axes.fill_between(x, low, high, color=style_of(index).colour, alpha=_BAND, linewidth=0.0)


def _chart(draw: Callable[[Sequence[Axes]], None], number: int) -> bytes:
    """Return a row of panels with one legend on the right."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise FusionError("plots need matplotlib, which is not installed: pip install matplotlib") from error

    with rc_context({**AXES, "font.size": 9.0}), warnings.catch_warnings():
        # A name in a script that matplotlib's font lacks is shown as boxes, which is no reason to warn.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(number * _PANEL[0] + 1.8, _PANEL[1]), layout="constrained")
        panels = figure.subplots(1, number, squeeze=False)[0]
        draw(panels)
        panels[-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=_DPI, metadata={"Software": None})
    return data.getvalue()
