"""The curves and pictures of a training run, read back as TensorBoard reads them."""

from __future__ import annotations

import importlib.util
import logging
import time

import numpy as np
import pytest
import torch
from tiny_recipe import EPOCHS, STEPS, Killed, TinyRecipe, kill_at, new_run, settings
from torch.optim.optimizer import register_optimizer_step_post_hook

from training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")

TOTAL = STEPS * sum(EPOCHS)


def _events(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.events), size_guidance={"images": 0})
    events.Reload()
    return events


def _curve(events, name: str) -> dict[int, float]:
    points = [(point.step, point.value) for point in events.Scalars(name)]
    assert len(dict(points)) == len(points), f"{name}: a step comes twice"
    return dict(points)


def test_tensorboard_shows_losses_rates_gradients_validation_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    run, losses, norms = new_run(tmp_path), [], []
    recipe = TinyRecipe(at_step=lambda step, parts: losses.append(parts["pixel"].item()) or parts)

    def note_norm(optimiser, *_):
        gradients = [parameter.grad.flatten() for parameter in optimiser.param_groups[0]["params"]]
        norms.append(torch.cat(gradients).norm().item())

    hook = register_optimizer_step_post_hook(note_norm)
    try:
        history = train(recipe, run, settings(tensorboard=True, log_every=3))
    finally:
        hook.remove()
    events, first = _events(run), EPOCHS[0] * STEPS
    pixel = _curve(events, "all/train_pixel") | _curve(events, "decoder/train_pixel")
    wanted = {step: np.mean(losses[step - 3 : step]) for step in range(3, TOTAL + 1, 3)}
    wanted[first + 1] = losses[first]  # of the second stage alone
    assert pixel == pytest.approx(wanted, rel=1e-5)
    rates = {step: 0.1 * (1 - (step - 1) / first) for step in range(3, first + 1, 3)}
    assert _curve(events, "all/learning_rate") == pytest.approx(rates, rel=1e-5)
    gradient = _curve(events, "decoder/gradient_norm")
    assert gradient == pytest.approx({step: norms[step - 1] for step in gradient}, rel=1e-4)
    wanted = {first + STEPS * row["epoch"]: row["validation_loss"] for row in history if row["stage"] == "decoder"}
    assert _curve(events, "decoder/validation_loss") == pytest.approx(wanted, rel=1e-5)
    for name in ("all/fused", "all/colour"):
        pictures = events.Images(name)
        assert [(picture.step, picture.width, picture.height) for picture in pictures] == [(4, 6, 6), (8, 6, 6)]


def test_a_part_of_the_loss_that_begins_later_has_a_mean_of_its_own_steps(tmp_path):
    pytest.importorskip("tensorboard")
    run = new_run(tmp_path)
    late = TinyRecipe(
        at_step=lambda step, parts: parts | ({"late": parts["size"] * 0 + 6} if step > STEPS else {})
    )
    history = train(late, run, settings(tensorboard=True, log_every=3))
    assert ["train_late" in row for row in history] == [False, True, True, True, True]
    assert _curve(_events(run), "all/train_late") == {6: 6}


@pytest.mark.parametrize("step", [6, 7, 12, 13])
def test_curves_of_a_resumed_run_hold_each_step_once(tmp_path, step):
    pytest.importorskip("tensorboard")
    wanted = settings(tensorboard=True, log_every=1)
    whole_run, run = new_run(tmp_path / "whole"), new_run(tmp_path / "cut")
    train(TinyRecipe(), whole_run, wanted)
    with pytest.raises(Killed):
        train(TinyRecipe(at_step=kill_at(step)), run, wanted)
    time.sleep(1 - time.time() % 1)  # TensorBoard orders files by whole seconds, and no real run resumes sooner
    train(TinyRecipe(), run, wanted)
    whole, cut = _events(whole_run), _events(run)
    names = whole.Tags()["scalars"]
    assert names == cut.Tags()["scalars"]
    for name in names:
        assert _curve(cut, name) == _curve(whole, name)


def test_without_tensorboard_training_says_how_to_get_it(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    find_spec = importlib.util.find_spec
    absent = lambda name, *rest: None if name == "tensorboard" else find_spec(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    run = new_run(tmp_path)
    train(TinyRecipe(), run, settings(tensorboard=True))
    assert "pip install -r requirements/training.txt" in caplog.text
    assert not run.events.exists()


def test_the_tests_use_the_tensorboard_that_users_are_told_to_install(repository):
    (pin,) = (repository / "requirements" / "training.txt").read_text().split()
    assert pin in (repository / "requirements" / "test.txt").read_text().split()
