"""The known part error by condition as one chart, and the error by distance of rendered pairs."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ...chart_style import AXES, style_of
from ...errors import FusionError
from ..results import AS_RECORDED
from .baselines import NoAlignment
from .parallax import CURVE, EVERYWHERE, OUTLINES, ParallaxSummary
from .results import AlignmentEvaluation, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["distance_chart", "error_chart"]

_DPI = 150
_GROUP = 0.84  # of the distance between conditions
_TICKS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_DISTANCES = (3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100)  # m, named on the axis
_DODGE = 0.012  # by which series are moved apart, so that their intervals can be told from one another
_MARKERS = {"solid": "o", "dashed": "s", "dotted": "^"}


def error_chart(evaluation: AlignmentEvaluation) -> bytes:
    """Return the mean known part error as PNG: a group a condition, a mark an aligner, with 95 % intervals.

    The scale is logarithmic above 0.1 px, since aligners that lose their way are tens of pixels off. A dashed line
    across a group is what doing nothing costs. As recorded there is the error that is added.

    Raises:
        FusionError: matplotlib is not installed.
    """
    names, conditions = [aligner.name for aligner in evaluation.aligners], list(evaluation.conditions)
    step = _GROUP / len(names)
    with _figure(2.8 + 0.2 * len(conditions) * max(5, len(names))) as figure:
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
        return _png(figure)


def distance_chart(evaluation: AlignmentEvaluation) -> bytes:
    """Return the mean error of rendered pairs against the distance as PNG: everywhere, and on outlines.

    A line an aligner, with 95 % intervals; the dashed line is what doing nothing costs.

    Raises:
        FusionError: matplotlib is not installed.
    """
    with _figure(11.0) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, place in zip(panels, (EVERYWHERE, OUTLINES), strict=True):
            _by_distance(axes, evaluation, place)
            axes.set_title(place, fontsize=10.0)
            axes.set_xscale("log")
            axes.set_xticks(_DISTANCES, [f"{distance:g}" for distance in _DISTANCES])
            axes.set_xticks([], minor=True)
            axes.set_xlim(CURVE[0].near_m, CURVE[-1].far_m)
            axes.set_xlabel("distance, m")
        panels[0].set_ylim(bottom=0.0)
        panels[0].set_ylabel("mean error, px")
        panels[-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False)
        return _png(figure)


def _by_distance(axes: Axes, evaluation: AlignmentEvaluation, place: str) -> None:
    for index, aligner in enumerate(evaluation.aligners):
        found = [(span.middle_m, evaluation.at_distance(aligner.name, span, place)) for span in CURVE]
        found = [(middle_m, summary) for middle_m, summary in found if summary.pairs]
        at, summaries = np.array([middle_m for middle_m, _ in found]), [summary for _, summary in found]
        if index == 0:  # of any aligner, for all are compared over the same pixels
            left = [summary.nothing_px for summary in summaries]
            axes.plot(at, left, color="#7f7f7f", linewidth=1.2, linestyle="dashed", label="doing nothing")
        if aligner.name != NoAlignment.name:
            _curve(axes, index, at * np.exp(index * _DODGE), summaries, aligner.name)


@contextmanager
def _figure(width: float) -> Iterator[Figure]:
    """Give a figure of this width, inches, in the look of all charts."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise FusionError("plots need matplotlib, which is not installed: pip install matplotlib") from error
    with rc_context({**AXES, "font.size": 9.0}), warnings.catch_warnings():
        # A name in a script that matplotlib's font lacks is shown as boxes, which is no reason to warn.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield Figure(figsize=(width, 4.4), layout="constrained")


def _png(figure: Figure) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=_DPI, metadata={"Software": None})
    return data.getvalue()


def _curve(axes: Axes, index: int, at: np.ndarray, found: Sequence[ParallaxSummary], name: str) -> None:
    means = np.array([summary.mean_px for summary in found])
    ends = np.array([[s.mean_px - s.low_px, s.high_px - s.mean_px] for s in found]).T
    look = style_of(index)
    axes.errorbar(
        at, means, yerr=np.clip(np.nan_to_num(ends), 0.0, None), color=look.colour, linestyle=look.dash,
        marker=_MARKERS[look.dash], markersize=4.0, linewidth=1.2, elinewidth=0.9, label=name,
    )  # fmt: skip


def _series(axes: Axes, index: int, at: np.ndarray, found: Sequence[Summary], name: str) -> None:
    means = np.array([summary.known_mean for summary in found])
    ends = np.array([[s.known_mean - s.known_low, s.known_high - s.known_mean] for s in found]).T
    look = style_of(index)
    axes.errorbar(
        at, means, yerr=np.clip(np.nan_to_num(ends), 0.0, None), fmt=_MARKERS[look.dash], color=look.colour,
        markersize=4.5, elinewidth=1.1, label=name,
    )  # fmt: skip
