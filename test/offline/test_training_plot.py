"""Curves of runs: what is drawn is what the runs have noted, and what is no run is refused."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_recipe import EPOCHS, TinyRecipe, new_run, settings

from fusion_ros.errors import SettingsError
from training.loop import train
from training.plot import add_plot, draw_curves, read_history, write_curves
from training.run_folder import RunFolder

matplotlib = pytest.importorskip("matplotlib")

BLUE = "#0072b2"


def _run(path: Path, rows: list[dict], recipe: str = "tiny") -> Path:
    run = RunFolder(path)
    run.start({"recipe": recipe})
    run.write_history(rows)
    return path


def _epoch(stage: str, epoch: int, train: float, validation: float | None = None, **metrics: float) -> dict:
    row = {"stage": stage, "epoch": epoch, "train_total": train, "train_part": train / 2}
    if validation is not None:
        row |= {"validation_loss": validation, **{f"validation_{name}": v for name, v in metrics.items()}}
    return row | {"seconds": 1.5}


TWO_STAGES = [
    _epoch("encode", 1, 4.0),
    _epoch("encode", 2, 3.0, 3.5),
    _epoch("fuse", 1, 900.0, 950.0, EN=6.0),
    _epoch("fuse", 2, 800.0),
    _epoch("fuse", 3, 700.0, 750.0, EN=6.5),
]


def _curves(figure, label: str) -> list[list[tuple[float, float]]]:
    """The points of all lines of a panel that show values, not borders of stages."""
    (axes,) = (axes for axes in figure.axes if axes.get_label() == label)
    lines = [line for line in axes.get_lines() if line.get_transform() == axes.transData]
    return [[tuple(point) for point in line.get_xydata().tolist()] for line in lines]


def test_each_stage_has_its_losses_in_a_panel_and_each_metric_one_below(tmp_path):
    figure = draw_curves([read_history(_run(tmp_path / "run", TWO_STAGES))])
    labels = [axes.get_label() for axes in figure.axes]
    assert labels == ["loss tiny encode", "loss tiny fuse", "EN"]
    assert _curves(figure, "loss tiny encode") == [[(1, 4.0), (2, 3.0)], [(2, 3.5)]]
    assert _curves(figure, "loss tiny fuse") == [[(3, 900.0), (4, 800.0), (5, 700.0)], [(3, 950.0), (5, 750.0)]]
    assert _curves(figure, "EN") == [[(3, 6.0), (5, 6.5)]]
    figure.draw_without_rendering()
    losses, metric = figure.axes[0].get_position(), figure.axes[2].get_position()
    assert metric.y1 < losses.y0


def test_the_border_between_stages_is_marked_between_their_epochs(tmp_path):
    figure = draw_curves([read_history(_run(tmp_path / "run", TWO_STAGES))])
    metric = figure.axes[-1]
    borders = [line for line in metric.get_lines() if line.get_transform() != metric.transData]
    assert [line.get_xdata()[0] for line in borders] == [2.5]


def test_runs_share_the_panels_of_their_recipe_and_keep_one_colour_and_name(tmp_path):
    better = [{**row, "train_total": row["train_total"] / 2} for row in TWO_STAGES]
    other = [_epoch("fuse", 1, 0.5, 0.6, EN=7.0, SD=40.0)]
    paths = [_run(tmp_path / name, rows) for name, rows in (("first", TWO_STAGES), ("second", better))]
    paths.append(_run(tmp_path / "third", other, recipe="other"))
    figure = draw_curves([read_history(path) for path in paths])
    assert [axes.get_label() for axes in figure.axes] == [
        *("loss tiny encode", "loss tiny fuse", "loss other fuse"),  # losses of two recipes are not comparable
        *("EN", "SD"),
    ]
    assert len(_curves(figure, "loss tiny fuse")) == 4
    assert _curves(figure, "EN")[2] == [(1, 7.0)]
    named = {line.get_label(): line.get_color() for line in figure.legends[0].get_lines()}
    colours = {name: named[name] for name in ("first", "second", "third")}
    assert len(set(colours.values())) == 3
    assert [line.get_color() for line in figure.axes[2].get_lines()] == [colours["third"]] * 2
    first, second = (line.get_color() for line in figure.axes[0].get_lines()[::2])
    assert (first, second) == (colours["first"], colours["second"])


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path):
    paths = [_run(tmp_path / parent / "run", TWO_STAGES) for parent in ("a", "b")]
    figure = draw_curves([read_history(path) for path in paths])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == [str(path) for path in paths]


@pytest.mark.parametrize(
    ("losses", "scale"), [((900.0, 1.0), "log"), ((3.0, 2.0), "linear"), ((900.0, -1.0), "linear")]
)
def test_losses_that_fall_far_are_on_a_logarithmic_scale_where_there_is_one(tmp_path, losses, scale):
    rows = [_epoch("fuse", number, loss) for number, loss in enumerate(losses, 1)]
    (axes,) = draw_curves([read_history(_run(tmp_path / "run", rows))]).axes
    assert axes.get_yscale() == scale


def test_a_loss_that_is_not_finite_leaves_the_others_visible(tmp_path):
    rows = [
        _epoch("fuse", 1, 2.0, float("inf")),
        _epoch("fuse", 2, 1.0, float("nan")),
        _epoch("fuse", 3, 1.0, 1.5),
    ]
    write_curves([_run(tmp_path / "run", rows)], tmp_path / "curves.png")
    figure = draw_curves([read_history(tmp_path / "run")])
    low, high = figure.axes[0].get_ylim()
    assert 0 < low < 1.0 and 2.0 < high < 3


def test_the_history_of_a_training_is_what_is_drawn(tmp_path, one_thread):
    run = new_run(tmp_path / "run")
    rows = train(TinyRecipe(), run, settings(validate_every=2))
    figure = draw_curves([read_history(run.path)])
    drawn = np.concatenate(
        [_curves(figure, f"loss tiny {stage}")[0] for stage in dict.fromkeys(r["stage"] for r in rows)]
    )
    expected = [(number, row["train_total"]) for number, row in enumerate(rows, 1)]
    assert len(drawn) == sum(EPOCHS)
    np.testing.assert_allclose(drawn, expected)


def _command(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    add_plot(parser.add_subparsers())
    options = parser.parse_args(["plot", *arguments])
    options.run_command(options)


def test_the_command_writes_a_picture_with_the_runs_colour_on_white(tmp_path):
    out = tmp_path / "new" / "curves.png"
    _command(str(_run(tmp_path / "run", TWO_STAGES)), "--out", str(out))
    picture = cv2.imread(str(out))[..., ::-1]
    assert (picture[0] == 255).all() and (picture[:, -1] == 255).all()
    colour = [int(BLUE[at : at + 2], 16) for at in (1, 3, 5)]
    assert (picture == colour).all(axis=-1).sum() > 100


@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_ending_of_the_file_decides_its_format(tmp_path, suffix, start):
    out = tmp_path / f"curves.{suffix}"
    _command(str(_run(tmp_path / "run", TWO_STAGES)), "--out", str(out))
    assert out.read_bytes().startswith(start)


def test_a_name_of_signs_that_mean_something_to_matplotlib_is_written_as_it_is(tmp_path):
    path = _run(tmp_path / "_cost $1 and $2", TWO_STAGES)
    write_curves([path], tmp_path / "curves.svg")
    figure = draw_curves([read_history(path)])
    figure.draw_without_rendering()
    assert figure.legends[0].get_texts()[0].get_text() == "_cost $1 and $2"


# --- what is refused ---


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nothing_here holds no training run"):
        _command(str(tmp_path / "nothing_here"))
    (tmp_path / "settings.yaml").write_text("camera: front\n")
    with pytest.raises(SettingsError, match=r"holds no training run.*names no recipe"):
        read_history(tmp_path)


def test_a_run_without_a_complete_epoch_is_told_from_a_folder_without_a_run(tmp_path):
    new_run(tmp_path / "young")
    with pytest.raises(SettingsError, match=r"young: no epoch is complete yet.*try again later"):
        read_history(tmp_path / "young")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stage,epoch,train_total\n",
        "epoch,train_total\n1,2.0\n",
        "stage,epoch,train_total\nfuse,1,low\n",
        "stage,epoch,train_total\nfuse,1\n",
        "stage,epoch,train_total\nfuse,1,2.0,3.0\n",
        "stage,epoch,train_total\nfuse,1,2\x00\n",
    ],
    ids=["empty", "no rows", "no stages", "no number", "short row", "long row", "binary"],
)
def test_a_damaged_history_is_refused_with_the_way_to_restore_it(tmp_path, text):
    run = new_run(tmp_path / "run")
    (run.path / "history.csv").write_text(text)
    with pytest.raises(SettingsError, match=r"history\.csv is damaged: .*--resume .*run writes it anew"):
        read_history(run.path)


def test_a_file_that_cannot_be_written_is_refused_with_the_reason(tmp_path):
    path = str(_run(tmp_path / "run", TWO_STAGES))
    with pytest.raises(SettingsError, match=r"ends in \.png, \.svg, \.pdf, got '.*curves\.bmp'"):
        _command(path, "--out", str(tmp_path / "curves.bmp"))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(SettingsError, match=r"cannot write .*folder\.png: .*directory; choose another --out"):
        _command(path, "--out", str(tmp_path / "folder.png"))


def test_matplotlib_is_loaded_only_to_draw(repository):
    code = "import sys, training.plot; assert not [name for name in sys.modules if name.startswith('matplotlib')]"
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True)
