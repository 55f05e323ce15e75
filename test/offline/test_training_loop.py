"""The training loop: what it computes, what it saves, and that a break leaves no trace."""

from __future__ import annotations

import csv
import logging
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_recipe import (
    EPOCHS,
    STEPS,
    Killed,
    TinyBatches,
    TinyRecipe,
    kill_at,
    new_run,
    settings,
    without_time,
)
from torch.optim.optimizer import register_optimizer_step_post_hook

import training.run_folder
from fusion_ros.errors import SettingsError
from training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")

TOTAL = STEPS * sum(EPOCHS)


def _tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


# --- what is computed ---


def _plain_training(recipe: TinyRecipe, clip_norm: float = math.inf) -> None:
    """Train a recipe without dropout as one would by hand."""
    network = recipe.network
    decoder = list(network.decoder.parameters())
    for stage, parameters, optimiser, rate in (
        (0, list(network.parameters()), torch.optim.SGD(network.parameters(), 0.1, momentum=0.9), 0.1),
        (1, decoder, torch.optim.Adam(decoder, 0.01), 0.01),
    ):
        network.train()
        for index in range(EPOCHS[stage] * STEPS):
            optimiser.param_groups[0]["lr"] = rate * (1 - index / (EPOCHS[stage] * STEPS))
            batch = TinyBatches().whole(1 + index // STEPS, index % STEPS)
            fused = network(batch.infrared, batch.visible)
            network.zero_grad()
            ((fused - batch.visible).square().mean() + 0.1 * fused.square().mean()).backward()
            norm = torch.cat([parameter.grad.flatten() for parameter in parameters]).double().norm()
            for parameter in parameters:
                parameter.grad *= min(1.0, float(clip_norm / norm))
            optimiser.step()


def test_the_loop_computes_what_a_plain_loop_computes(tmp_path):
    plain, recipe = TinyRecipe(dropout=0), TinyRecipe(dropout=0)
    _plain_training(plain)
    train(recipe, new_run(tmp_path), settings())
    _assert_equal(_tensors(recipe.network), _tensors(plain.network))


def test_a_gradient_longer_than_the_limit_is_shortened_to_it(tmp_path):
    plain, unclipped, recipe = (TinyRecipe(dropout=0) for _ in range(3))
    _plain_training(plain, clip_norm=0.05)
    _plain_training(unclipped)
    train(recipe, new_run(tmp_path), settings(clip_norm=0.05))
    torch.testing.assert_close(_tensors(recipe.network), _tensors(plain.network))
    assert not torch.allclose(unclipped.network.decoder.weight, recipe.network.decoder.weight, rtol=1e-3)


def test_a_stage_changes_its_own_parameters_alone(tmp_path):
    seen = {}

    def at_step(number, losses):
        seen[number] = _tensors(recipe.network.encoder[0])
        return losses

    recipe = TinyRecipe(at_step=at_step)
    train(recipe, new_run(tmp_path), settings())
    first = EPOCHS[0] * STEPS
    assert not torch.equal(seen[1]["weight"], seen[first]["weight"])
    _assert_equal(seen[first + 1], _tensors(recipe.network.encoder[0]))


def test_the_same_seed_gives_the_same_weights_and_another_one_others(tmp_path):
    recipes = [TinyRecipe(), TinyRecipe(), TinyRecipe()]
    for number, (recipe, seed) in enumerate(zip(recipes, (0, 0, 1), strict=True)):
        train(recipe, new_run(tmp_path / str(number)), settings(seed=seed))
    _assert_equal(_tensors(recipes[0].network), _tensors(recipes[1].network))
    assert not torch.equal(recipes[0].network.decoder.weight, recipes[2].network.decoder.weight)  # other dropout


def test_the_average_follows_its_formula_is_validated_and_begins_the_next_stage(tmp_path):
    decay, weights, validated, begun = 0.6, [], [], {}

    class Recipe(TinyRecipe):
        def validate(self, stage):
            validated.append(_tensors(self.network))
            return super().validate(stage)

    def at_step(number, losses):
        begun[number] = _tensors(recipe.network)
        return losses

    recipe = Recipe(at_step=at_step, norm=False)
    weights.append(_tensors(recipe.network))
    hook = register_optimizer_step_post_hook(lambda *_: weights.append(_tensors(recipe.network)))
    try:
        train(recipe, new_run(tmp_path), settings(ema_decay=decay))
    finally:
        hook.remove()
    steps = EPOCHS[0] * STEPS
    average = {name: tensor.double() for name, tensor in weights[0].items()}
    for step in range(1, steps + 1):
        d = min(decay, (1 + step) / (10 + step))
        average = {name: d * tensor + (1 - d) * weights[step][name] for name, tensor in average.items()}
        if step == STEPS:
            torch.testing.assert_close(validated[0], {name: t.float() for name, t in average.items()})
            _assert_equal(begun[step + 1], weights[step])  # after the validation the weights are back
    torch.testing.assert_close(validated[1], {name: t.float() for name, t in average.items()})
    _assert_equal(begun[steps + 1], validated[1])


def test_bfloat16_is_the_arithmetic_of_the_network_and_float32_its_memory(tmp_path):
    recipe, seen = TinyRecipe(), []
    recipe.network.decoder.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    train(recipe, new_run(tmp_path), settings(precision="bfloat16"))
    assert seen.count(torch.bfloat16) == TOTAL
    assert {tensor.dtype for tensor in recipe.network.parameters()} == {torch.float32}


def test_a_float16_gradient_that_overflows_is_left_out_and_scaled_less(tmp_path):
    before, recipe = {}, TinyRecipe(norm=False)

    def at_step(number, losses):
        before[number] = _tensors(recipe.network)
        return losses | {"total": 10 * losses["total"]}

    recipe.at_step = at_step
    train(recipe, new_run(tmp_path), settings(precision="float16", clip_norm=0.1))
    _assert_equal(before[1], before[2])
    assert not torch.equal(before[1]["decoder.weight"], recipe.network.decoder.weight)
    assert all(torch.isfinite(tensor).all() for tensor in recipe.network.parameters())


# --- what is saved ---


def test_the_history_holds_the_means_of_each_epoch_and_is_written_as_csv(tmp_path):
    losses, run = [], new_run(tmp_path)
    recipe = TinyRecipe(at_step=lambda step, parts: losses.append(parts["size"].item()) or parts)
    history = train(recipe, run, settings(validate_every=2))
    assert [(row["stage"], row["epoch"]) for row in history] == [
        ("all", 1),
        ("all", 2),
        ("decoder", 1),
        ("decoder", 2),
        ("decoder", 3),
    ]
    means = np.mean(np.reshape(losses, (-1, STEPS)), axis=1)
    np.testing.assert_allclose([row["train_size"] for row in history], means, rtol=1e-12)
    assert ["validation_loss" in row for row in history] == [False, True, False, True, True]
    with (run.path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_size"]) for row in rows] == [row["train_size"] for row in history]
    assert [row["validation_loss"] for row in rows][:2] == ["", str(history[1]["validation_loss"])]


def test_the_best_weights_are_those_of_the_lowest_validation_loss_in_the_last_stage(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    scripted, kept = iter([0.1, 0.2, 5.0, 3.0, math.nan]), []

    class Recipe(TinyRecipe):
        def validate(self, stage):
            kept.append(_tensors(self.network))
            return {"loss": next(scripted)}

    run = new_run(tmp_path)
    train(Recipe(), run, settings())
    _assert_equal(load_file(run.best), kept[3])
    assert "the validation loss is nan" in caplog.text
    assert "best.safetensors has the lowest validation loss, 3.0000" in caplog.text


@pytest.mark.parametrize("step", [1, 4, 5, 8, 9, 15, 20])
@pytest.mark.parametrize(
    "changes",
    [{}, {"ema_decay": 0.9, "clip_norm": 0.1, "validate_every": 2}, {"precision": "float16"}],
    ids=["plain", "average and clipping", "float16"],
)
def test_a_run_that_is_killed_at_any_step_ends_as_an_unbroken_one(tmp_path, step, changes):
    whole, whole_run, run = TinyRecipe(), new_run(tmp_path / "whole"), new_run(tmp_path / "cut")
    history = train(whole, whole_run, settings(**changes))
    with pytest.raises(Killed):
        train(TinyRecipe(at_step=kill_at(step)), run, settings(**changes))
    if step <= STEPS * (EPOCHS[0] + 1):
        assert not run.best.exists()  # the last stage has not been validated
    resumed = TinyRecipe(seed=7)  # the initial weights are the run's, if it has any
    if run.load() is None:
        resumed = TinyRecipe()
    assert without_time(train(resumed, run, settings(**changes))) == without_time(history)
    assert resumed.steps - 1 <= TOTAL - step + 3  # no more is lost than the steps since the last checkpoint
    _assert_equal(_tensors(resumed.network), _tensors(whole.network))
    assert run.best.read_bytes() == whole_run.best.read_bytes()


@pytest.mark.parametrize("function", ["os.fsync", "Path.replace"])
def test_a_run_that_is_killed_while_it_writes_ends_as_an_unbroken_one(tmp_path, monkeypatch, function):
    whole = TinyRecipe()
    history = train(whole, new_run(tmp_path / "whole"), settings())
    owner, name = (
        (training.run_folder.os, "fsync") if function == "os.fsync" else (training.run_folder.Path, "replace")
    )
    real, left, broken, run = getattr(owner, name), [0], 0, new_run(tmp_path / "cut")

    def killed_after_some(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(owner, name, killed_after_some)
    for allowed in range(1, 30):  # each part of the run gets a little further into its files
        left[0] = allowed
        recipe = TinyRecipe()
        try:
            resumed = train(recipe, run, settings())
            break
        except Killed:
            broken += 1
    assert broken > 3
    assert without_time(resumed) == without_time(history)
    _assert_equal(_tensors(recipe.network), _tensors(whole.network))
    with (run.path / "history.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(history)


def test_a_process_that_is_killed_by_the_system_loses_nothing(tmp_path, repository):
    whole = TinyRecipe()
    history = train(whole, new_run(tmp_path / "whole"), settings())
    run = new_run(tmp_path / "cut")
    command = [sys.executable, "test/offline/tiny_recipe.py", str(run.path), "threads=1, checkpoint_every=1"]
    process = subprocess.Popen(command, cwd=repository, env={**os.environ, "PYTHONPATH": str(repository)})
    deadline = time.monotonic() + 60
    while not (run.path / "previous.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 1 <= run.load()["progress"]["steps"] < TOTAL
    resumed = TinyRecipe(seed=7)
    assert without_time(train(resumed, run, settings())) == without_time(history)
    assert resumed.steps < TOTAL
    _assert_equal(_tensors(resumed.network), _tensors(whole.network))


def test_a_run_that_is_complete_stays_as_it_is(tmp_path):
    run, recipe, again = new_run(tmp_path), TinyRecipe(), TinyRecipe(seed=7)
    history = train(recipe, run, settings())
    checkpoint, table = (run.path / "last.pt").read_bytes(), (run.path / "history.csv").read_text()
    (run.path / "history.csv").unlink()  # as if it had been killed before it could write that
    assert train(again, run, settings()) == history
    assert again.steps == 0
    assert (run.path / "last.pt").read_bytes() == checkpoint
    assert (run.path / "history.csv").read_text() == table
    _assert_equal(_tensors(again.network), _tensors(recipe.network))


def test_a_run_does_not_go_on_with_settings_or_batches_of_another(tmp_path):
    run = new_run(tmp_path)
    with pytest.raises(Killed):
        train(TinyRecipe(at_step=kill_at(6)), run, settings())
    with pytest.raises(
        SettingsError, match=r"clip_norm: the run was begun with 0\.0, got 1\.0; .*start a new run"
    ):
        train(TinyRecipe(), run, settings(clip_norm=1.0))
    other = TinyRecipe()
    other.stages[1].batches.steps_per_epoch = 5
    with pytest.raises(SettingsError, match=r"begun with .*\['decoder', 3, 4\]\], got .*\['decoder', 3, 5\]\]"):
        train(other, run, settings())
