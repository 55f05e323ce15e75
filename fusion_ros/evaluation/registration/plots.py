"""The known part error by condition as one chart."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...chart_style import AXES, style_of
from ...errors import FusionError
from ..results import AS_RECORDED
from .results import AlignmentEvaluation, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["error_chart"]

_DPI = 150
_GROUP = 0.84  # of the distance between conditions
_TICKS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_MARKERS = {"solid": "o", "dashed": "s", "dotted": "^"}


def error_chart(evaluation: AlignmentEvaluation) -> bytes:
    """Return the mean known part error as PNG: a group a condition, a mark an aligner, with 95 % intervals.

    The scale is logarithmic above 0.1 px, since aligners that lose their way are tens of pixels off. A dashed line
    across a group is what doing nothing costs. As recorded there is the error that is added.

    Raises:
        FusionError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise FusionError("plots need matplotlib, which is not installed: pip install matplotlib") from error

    names, conditions = [aligner.name for aligner in evaluation.aligners], list(evaluation.conditions)
    step = _GROUP / len(names)
    with rc_context({**AXES, "font.size": 9.0}), warnings.catch_warnings():
        # A name in a script that matplotlib's font lacks is shown as boxes, which is no reason to warn.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(2.8 + 0.2 * len(conditions) * max(5, len(names)), 4.4), layout="constrained")
        axes = figure.add_subplot()
        for index, name in enumerate(names):
            at = np.arange(len(conditions)) + (index + 0.5) * step - _GROUP / 2.0
            _series(axes, index, at, [evaluation.summary(name, condition) for condition in conditions], name)
        for place, condition in enumerate(conditions):
            nothing = evaluation.summary(names[0], condition).nothing_mean
            if condition != AS_RECORDED and np.isfinite(nothing):
                axes.hlines(nothing, place - 0.5, place + 0.5, color="#7f7f7f", linewidth=1.0, linestyle="dashed")
        axes.set_yscale("symlog", linthresh=_TICKS[1], linscale=0.5)
        axes.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
        axes.set_yticks([], minor=True)
        axes.set_ylim(bottom=0.0)
        shown = ["as recorded,\nadded" if condition == AS_RECORDED else condition for condition in conditions]
        axes.set_xticks(range(len(conditions)), shown)
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.55, len(conditions) - 0.45)
        axes.set_ylabel("known part error, px (dashed: doing nothing)")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=_DPI, metadata={"Software": None})
    return data.getvalue()


def _series(axes: Axes, index: int, at: np.ndarray, found: Sequence[Summary], name: str) -> None:
    means = np.array([summary.known_mean for summary in found])
    ends = np.array([[s.known_mean - s.known_low, s.known_high - s.known_mean] for s in found]).T
    look = style_of(index)
    axes.errorbar(
        at, means, yerr=np.clip(np.nan_to_num(ends), 0.0, None), fmt=_MARKERS[look.dash], color=look.colour,
        markersize=4.5, elinewidth=1.1, label=name,
    )  # fmt: skip
