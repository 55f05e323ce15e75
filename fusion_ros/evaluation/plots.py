"""An evaluation as plots, each a small SVG: the report lays them out side by side.

A method has one look everywhere (:mod:`fusion_ros.chart_style`). Texts stay texts. The same evaluation gives the
same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..chart_style import AXES, INK, style_of
from ..errors import FusionError
from .ranking import ranks
from .results import AS_RECORDED, RESIDUAL, Evaluation, FrameRecord, by_severity
from .tables import stages_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "over_frames",
    "ranking",
    "spread",
    "stage_colours",
    "stress",
    "stress_kinds",
    "times",
]

_STAGES = ("#2f4b7c", "#5f7ba8", "#8fa6c8", "#b9c8de", "#a08794", "#c9b3bd", "#6b6f76", "#a3a7ad")
_BEST, _LAST = np.array([0, 78, 123]), np.array([226, 235, 242])  # colours of first and last place
_PANEL = (3.3, 2.0)  # inches
_MARGINS = {"left": 0.13, "right": 0.955, "bottom": 0.19, "top": 0.96}  # alike in all, so that axes are in line
_MOST_POINTS = 400  # along a line
_MOST_DOTS = 120  # beside a box
_DARK = 0.62  # of a cell's lightness, below which its text is white


def over_frames(evaluation: Evaluation, source: str, condition: str = AS_RECORDED) -> dict[str, str]:
    """Return metrics over time in one sequence, a line a method: column key to SVG.

    Of sequences longer than 400 frames, neighbours are averaged so that at most 400 points remain.
    """
    series = [_frames_of(evaluation, method.name, source, condition) for method in evaluation.methods]
    start = min((frame.stamp_ns for frames in series for frame in frames), default=0)

    def draw(axes: Axes, key: str) -> None:
        for index, frames in enumerate(series):
            time = np.array([(frame.stamp_ns - start) / 1e9 for frame in frames])
            value = np.array([frame.values.get(key, np.nan) for frame in frames])
            _line(axes, index, *_thinned(time, value))
        axes.set_xlabel("time, s")
        axes.margins(x=0.01)

    return {column.key: _panel(draw, column.key, f"frames {source}") for column in evaluation.columns}


def spread(evaluation: Evaluation, source: str, condition: str = AS_RECORDED) -> dict[str, str]:
    """Return how metrics spread over the still images of one source: column key to SVG.

    A box a method (median, quartiles, whiskers to 1.5 times their distance), and a dot for each image, of
    120 at most.
    """
    series = [_frames_of(evaluation, method.name, source, condition) for method in evaluation.methods]

    def draw(axes: Axes, key: str) -> None:
        for index, frames in enumerate(series):
            value = np.array([frame.values.get(key, np.nan) for frame in frames])
            _box(axes, index, value[np.isfinite(value)])
        axes.set_xticks([])
        axes.set_xlim(-0.6, len(series) - 0.4)

    return {column.key: _panel(draw, column.key, f"spread {source}") for column in evaluation.columns}


def stress_kinds(evaluation: Evaluation) -> list[str]:
    """Return the families of alterations, in order."""
    return list(dict.fromkeys(condition.kind for condition in evaluation.conditions if condition.kind))


def stress(evaluation: Evaluation, kind: str) -> dict[str, str]:
    """Return metrics against the level of one kind of alteration, a line a method: column key to SVG.

    The recording itself is on the left, then come the levels from the mildest to the worst, evenly spaced: not
    every kind has a number for what was not altered (visibility). ``residual_px`` comes first where the kind is
    a misalignment, without the recording, which has none.
    """
    levels = by_severity([condition for condition in evaluation.conditions if condition.kind == kind])
    has_residual = any(condition.is_misalignment for condition in levels)
    baseline = [c for c in evaluation.conditions if c.name == AS_RECORDED]

    def draw(axes: Axes, key: str) -> None:
        shown = levels if key == RESIDUAL else [*baseline, *levels]
        labels = [AS_RECORDED if condition in baseline else f"{condition.level:g}" for condition in shown]
        for index, method in enumerate(evaluation.methods):
            means = [evaluation.mean(key, method.name, condition.name) for condition in shown]
            _line(axes, index, np.arange(len(shown)), np.array(means), marker="o")
        axes.set_xticks(range(len(shown)), labels)
        axes.set_xlim(-0.5, len(shown) - 0.5)
        axes.set_xlabel(_label(f"{kind}, {levels[0].unit}" if levels[0].unit else kind))
        if key == RESIDUAL:
            axes.set_ylim(bottom=0.0)

    keys = [RESIDUAL] * has_residual + [column.key for column in evaluation.columns]
    return {key: _panel(draw, key, f"stress {kind}") for key in keys}


def ranking(evaluation: Evaluation, condition: str = AS_RECORDED) -> str:
    """Return the places of the ranked methods in each metric as one SVG: the darker, the nearer to the first."""
    found = ranks(evaluation, condition)
    methods = found.ranked
    names = [*(column.metric.name for column in evaluation.columns), "mean"]
    table = np.array([[*(p[m] for p in found.places.values()), found.mean[m]] for m in methods])

    def draw(axes: Axes, _: str) -> None:
        share = (table - 1.0) / max(1, len(methods) - 1)
        colours = (_BEST + share[..., None] * (_LAST - _BEST)) / 255.0
        for (row, column), place in np.ndenumerate(table):
            left = column + 0.25 * (column == len(names) - 1)  # the mean stands apart
            axes.barh(row, 0.96, height=0.92, left=left - 0.48, color=colours[row, column])
            text = "white" if colours[row, column].mean() < _DARK else "#10202c"
            shown = f"{place:.1f}" if column == len(names) - 1 else f"{place:g}"
            axes.text(left, row, shown, ha="center", va="center", color=text)
        axes.set_xticks([*range(len(names) - 1), len(names) - 0.75], names)
        axes.set_yticks(range(len(methods)), [_label(method) for method in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_xlim(-0.5, len(names) - 0.2)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines[:].set_visible(False)

    return _panel(
        draw, "places", f"ranking {condition}", size=(1.8 + 0.68 * len(names), 0.55 + 0.4 * len(methods))
    )


def times(evaluation: Evaluation) -> str:
    """Return the mean time of each stage, stacked, a bar a method, as one SVG."""
    stages, methods = stages_of(evaluation), list(evaluation.stage_ms)

    def draw(axes: Axes, _: str) -> None:
        left = np.zeros(len(methods))
        for at, stage in enumerate(stages):
            width = np.array([evaluation.stage_ms[m].get(stage, {}).get("mean", 0.0) for m in methods])
            axes.barh(range(len(methods)), width, left=left, height=0.62, color=_STAGES[at % len(_STAGES)])
            left += width
        for row, total in enumerate(left):
            axes.annotate(f"{total:.1f}", (total, row), (4, 0), textcoords="offset points", va="center", color=INK)
        axes.set_yticks(range(len(methods)), [_label(method) for method in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_xlim(0.0, 1.12 * max(left, default=0.0) or 1.0)
        axes.set_xlabel("ms a frame")
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")

    return _panel(draw, "times", "times", size=(9.5, 0.8 + 0.38 * len(methods)))


def stage_colours(evaluation: Evaluation) -> dict[str, str]:
    """Return the colour of each stage in :func:`times`."""
    return {stage: _STAGES[at % len(_STAGES)] for at, stage in enumerate(stages_of(evaluation))}


def _label(name: str) -> str:
    """Return a name that fonts and XML can hold: one line, and bytes that were no text are spelt out."""
    line = "".join(
        sign if sign.isprintable() else " " for sign in name.encode("utf-8", "backslashreplace").decode()
    )
    return line.strip() or "?"


def _frames_of(evaluation: Evaluation, method: str, source: str, condition: str) -> list[FrameRecord]:
    return [frame for frame in evaluation.select(method, condition) if frame.source == source]


def _thinned(time: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means of neighbours, at most as many as are worth drawing; NaN where all of them are."""
    if len(time) <= _MOST_POINTS:
        return time, value
    starts = np.linspace(0, len(time), _MOST_POINTS, endpoint=False).astype(int)
    defined = np.isfinite(value)
    numbers = np.add.reduceat(defined.astype(int), starts)
    total = np.add.reduceat(np.where(defined, value, 0.0), starts)
    mean = np.divide(total, numbers, out=np.full(len(starts), np.nan), where=numbers > 0)
    return np.add.reduceat(time, starts) / np.diff([*starts, len(time)]), mean


def _line(axes: Axes, index: int, x: np.ndarray, y: np.ndarray, marker: str = "") -> None:
    look = style_of(index)
    axes.plot(
        x, y, color=look.colour, linestyle=look.dash, linewidth=1.5, marker=marker, markersize=3.5,
        markeredgewidth=0.0, gid=f"series-{index}",
    )  # fmt: skip


def _box(axes: Axes, index: int, values: np.ndarray) -> None:
    if not len(values):
        return
    colour = style_of(index).colour
    lines = {"color": colour, "linewidth": 1.3}
    parts = axes.boxplot(
        [values], positions=[index], widths=0.5, showfliers=False, patch_artist=True,
        boxprops={"facecolor": colour + "33", "edgecolor": colour, "linewidth": 1.3},
        medianprops={"color": colour, "linewidth": 2.4}, whiskerprops=lines, capprops=lines,
    )  # fmt: skip
    for artist in (artist for part in parts.values() for artist in part):
        artist.set_gid(f"series-{index}")
    step = -(-len(values) // _MOST_DOTS)
    shown = values[::step]
    aside = 0.16 * np.sin(2.4 * np.arange(len(shown)))  # so that equal values are seen as several
    axes.plot(index + aside, shown, ".", color=colour, markersize=3.0, alpha=0.65, gid=f"series-{index}")


def _panel(draw: Callable[[Axes, str], None], key: str, name: str, size: tuple[float, float] | None = None) -> str:
    """Return one plot as SVG; ``name`` and ``key`` together must be unique within a page.

    One with a ``size`` of its own, in inches, makes room for its labels; the others are all laid out alike.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise FusionError("plots need matplotlib, which is not installed: pip install matplotlib") from error

    with (
        rc_context({**_STYLE, "svg.hashsalt": ascii(f"{name} {key}"), "font.size": 10.0 if size else 8.0}),
        warnings.catch_warnings(),
    ):
        # A name in a script that matplotlib's font lacks is still written as text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=size or _PANEL, layout="constrained" if size else None)
        if size is None:
            figure.subplots_adjust(**_MARGINS)
        axes = figure.add_subplot()
        draw(axes, key)
        if size is None and not axes.get_xlabel():
            figure.subplots_adjust(bottom=0.04)
        return _svg(figure, name, key)


_STYLE = {
    **AXES,
    "svg.fonttype": "none",
    "axes.facecolor": "none",
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
}


def _svg(figure: Figure, name: str, key: str) -> str:
    """Return a figure as an ``<svg>`` element that can stand in a page beside others.

    Series become classes (``series s0``), ids that nothing refers to go, and the rest are unique by the salt.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = text.getvalue()
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="series-(\d+)"', r'<g class="series s\1"', svg)
    svg = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), svg)  # 0.01 pt is enough
    used = set(re.findall(r'"#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg))
    return re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg).strip()
