"""``python -m training plot``: the curves of one run, or of several side by side, also while they train.

Every stage has a panel of its own for its loss, since losses of two stages are not comparable; metrics of the
validations come below. Epochs are counted over the whole run in all panels. A run has one look everywhere.
"""

from __future__ import annotations

import argparse
import csv
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_ros.chart_style import AXES, INK, style_of
from fusion_ros.errors import SettingsError

from .options import add_command
from .run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec, SubplotSpec
    from matplotlib.lines import Line2D

__all__ = ["History", "add_plot", "draw_curves", "read_history", "write_curves"]

EXAMPLE = """\
examples:
  # a run, which may still be training
  python -m training plot runs/lrrnet

  # two runs in the same panels
  python -m training plot runs/lrrnet runs/lrrnet_wider --out compared.svg
"""
SUFFIXES = (".png", ".svg", ".pdf")

_STYLE = {
    **AXES,
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "ytick.minor.size": 0.0,
    "legend.frameon": False,
}
_WIDTH, _LOSS_HEIGHT, _METRIC_HEIGHT, _LEGEND_HEIGHT = 10.0, 3.2, 2.1, 0.5  # inches
_LOSS_COLUMNS, _METRIC_COLUMNS, _LEGEND_COLUMNS = 3, 4, 6  # in a row, at most
_DPI = 150
_WIDE = 30.0  # ratio of the largest to the smallest loss from which on equal distances are equal ratios


@dataclass(frozen=True)
class History:
    """What a run has noted of each epoch.

    Attributes:
        path: Folder of the run.
        recipe: What it trains.
        stages: Name of the stage of each epoch, ``(E,)``.
        values: Column of ``history.csv`` -> ``(E,)`` float64, NaN where an epoch has no such value.
    """

    path: Path
    recipe: str
    stages: np.ndarray
    values: dict[str, np.ndarray]

    def curve(self, column: str, stage: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the epochs, from 1 over the whole run, that have a value in a column, and the values.

        Args:
            column: Of ``history.csv``; one that the run does not have gives no epochs.
            stage: Takes the epochs of this stage alone.
        """
        values = self.values.get(column, np.full(len(self.stages), np.nan))
        shown = ~np.isnan(values) & (True if stage is None else self.stages == stage)
        return np.flatnonzero(shown) + 1, values[shown]

    @property
    def borders(self) -> np.ndarray:
        """Last epoch of every stage that another one follows."""
        return np.flatnonzero(self.stages[1:] != self.stages[:-1]) + 1


def read_history(path: Path) -> History:
    """Read what a run has noted so far.

    Args:
        path: Folder of a run, which may be training.

    Raises:
        SettingsError: The folder holds no run, the run has no complete epoch, or its history is damaged.
    """
    request = RunFolder(path).request()
    if not isinstance(request, dict) or "recipe" not in request:
        raise SettingsError(f"{path} holds no training run: settings.yaml in it names no recipe")
    file = path / "history.csv"
    if not file.is_file():
        raise SettingsError(f"{path}: no epoch is complete yet, so there is nothing to plot; try again later")
    try:
        with file.open(newline="", encoding="utf-8") as text:
            head, *rows = csv.reader(text, strict=True)
        columns = dict(zip(head, zip(*rows, strict=True), strict=True))
        stages = np.array(columns.pop("stage"))
        values = {name: np.array([float(cell or "nan") for cell in cells]) for name, cells in columns.items()}
    except (KeyError, ValueError, csv.Error) as error:
        raise SettingsError(
            f"{file} is damaged: expected a column 'stage' and numbers, one row an epoch ({error}); going on with "
            f"--resume {path} writes it anew"
        ) from error
    return History(path, str(request["recipe"]), stages, values)


def draw_curves(histories: Sequence[History]) -> Figure:
    """Return the curves of runs, side by side in each panel.

    Args:
        histories: Of at least one run.

    Returns:
        A panel of losses for each stage of each recipe, its label ``loss <recipe> <stage>``; then a panel for each
        metric, its label the name in the history less ``validation_``.
    """
    # Imported here: the other commands need not wait for it.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    stages = list(dict.fromkeys((history.recipe, stage) for history in histories for stage in history.stages))
    metrics = _metrics(histories)
    across = min(len(stages), _LOSS_COLUMNS), min(len(metrics), _METRIC_COLUMNS) or 1
    down = math.ceil(len(stages) / across[0]), math.ceil(len(metrics) / across[1])
    heights = [_LOSS_HEIGHT] * down[0] + [_METRIC_HEIGHT] * down[1]
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, sum(heights) + _LEGEND_HEIGHT), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
        grid = figure.add_gridspec(len(heights), math.lcm(*across), height_ratios=heights)
        for (recipe, stage), place in zip(stages, _places(grid, range(down[0]), across[0]), strict=False):
            axes = figure.add_subplot(place, label=f"loss {recipe} {stage}")
            _draw_losses(axes, histories, recipe, stage)
        rows = range(down[0], len(heights))
        for name, place in zip(metrics, _places(grid, rows, across[1]), strict=False):
            _draw_metric(figure.add_subplot(place, label=name), histories, name)
        for axes in figure.axes:
            axes.xaxis.get_major_locator().set_params(integer=True)
        for axes in figure.axes[-across[bool(metrics)] :]:  # those with no panel below
            axes.set_xlabel("epoch")
        figure.legend(handles=_legend(histories), loc="outside upper left", ncols=_LEGEND_COLUMNS)
    return figure


def write_curves(paths: Sequence[Path], out: Path) -> None:
    """Draw the curves of runs into a file.

    Args:
        paths: Folders of runs.
        out: ``.png``, ``.svg`` or ``.pdf``; its folder is made.

    Raises:
        SettingsError: As for :func:`read_history`; or the file has another ending, or cannot be written.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"--out: expected a file that ends in {', '.join(SUFFIXES)}, got {str(out)!r}")
    figure = draw_curves([read_history(path) for path in paths])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=_DPI)
    except OSError as error:
        raise SettingsError(f"cannot write {out}: {error.strerror or error}; choose another --out") from error


def add_plot(commands: Any) -> None:
    """Add the command ``plot``."""
    parser = add_command(
        commands,
        "plot",
        help="draw the curves of runs",
        description="Draw loss and metrics of runs by epoch, several runs in the same panels.",
        example=EXAMPLE,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--out", type=Path, default=Path("curves.png"), help="file, .png, .svg or .pdf [%(default)s]"
    )
    parser.set_defaults(run_command=_plot)


def _plot(options: argparse.Namespace) -> None:
    write_curves(options.runs, options.out)
    logging.getLogger(__name__).info("wrote %s", options.out)


def _metrics(histories: Sequence[History]) -> list[str]:
    """Return the metrics that any run has a value of, in their order."""
    names = dict.fromkeys(name for history in histories for name in history.values)
    measured = [name for name in names if any(len(history.curve(name)[0]) for history in histories)]
    return [name.removeprefix("validation_") for name in measured if _is_metric(name)]


def _is_metric(column: str) -> bool:
    return column.startswith("validation_") and column != "validation_loss"


def _places(grid: GridSpec, rows: range, columns: int) -> Iterator[SubplotSpec]:
    """Yield the places of panels, row by row, each of an equal share of the width."""
    share = grid.ncols // columns
    for row in rows:
        for column in range(columns):
            yield grid[row, column * share : (column + 1) * share]


def _draw_losses(axes: Axes, histories: Sequence[History], recipe: str, stage: str) -> None:
    several = len({history.recipe for history in histories}) > 1
    axes.set_title(f"loss, {recipe}, stage {stage}" if several else f"loss, stage {stage}")
    for index, history in enumerate(histories):
        if history.recipe == recipe:
            epochs, values = history.curve("train_total", stage)
            dot = {"marker": "o", "markersize": 3.0} if len(epochs) == 1 else {}  # a line would not be seen
            axes.plot(epochs, values, **_run_look(index), **_TRAIN, **dot)
            axes.plot(*history.curve("validation_loss", stage), **_run_look(index), **_VALIDATION)
    points = np.concatenate([line.get_xydata() for line in axes.get_lines()])
    if len(points):
        axes.set_xlim(*_reach(points[:, 0].min(), points[:, 0].max()))
    losses = points[np.isfinite(points[:, 1]), 1]
    if len(losses) and losses.min() > 0 and losses.max() > _WIDE * losses.min():
        axes.set_yscale("log")
        axes.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")


def _draw_metric(axes: Axes, histories: Sequence[History], name: str) -> None:
    axes.set_title(name)
    axes.set_xlim(*_reach(1, max(len(history.stages) for history in histories)))
    for index, history in enumerate(histories):
        axes.plot(*history.curve(f"validation_{name}"), **_run_look(index), **_VALIDATION)
        for border in history.borders:
            axes.axvline(border + 0.5, color=_run_look(index)["color"], **_BORDER)


def _reach(first: int, last: int) -> tuple[float, float]:
    margin = max(0.5, 0.015 * (last - first))
    return first - margin, last + margin


_TRAIN: dict[str, Any] = {"linewidth": 1.2, "alpha": 0.55}
_VALIDATION: dict[str, Any] = {"linewidth": 1.6, "marker": "o", "markersize": 4.0, "markeredgewidth": 0.0}
_BORDER: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (4, 3)), "alpha": 0.7}


def _run_look(index: int) -> dict[str, str]:
    look = style_of(index)
    return {"color": look.colour, "linestyle": look.dash}


def _legend(histories: Sequence[History]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    names = [history.path.resolve().name for history in histories]
    unique = len(set(names)) == len(names)
    labels = names if unique else [str(history.path) for history in histories]
    runs = [Line2D([], [], label=label, linewidth=2.4, **_run_look(i)) for i, label in enumerate(labels)]
    kinds = (("training", _TRAIN), ("validation", _VALIDATION))
    lines = [*runs, *(Line2D([], [], label=label, color=INK, **looks) for label, looks in kinds)]
    if any(len(history.borders) for history in histories) and _metrics(histories):
        lines.append(Line2D([], [], label="next stage", color=INK, **_BORDER))
    return lines
