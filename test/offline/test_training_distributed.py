"""Training in two processes, started by torchrun: as good as one, and never one without the other.

``torchrun`` runs this very file, which then trains one small run after another and notes what it saw.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_recipe import EPOCHS, STEPS, TinyBatches, TinyRecipe, new_run, settings, without_time

from fusion_ros.errors import ImageError
from training import distributed
from training.loop import train
from training.recipe import Losses
from training.run_folder import RunFolder, TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")

FILES = {"settings.yaml", "environment.yaml", "history.csv", "last.pt", "previous.pt", "best.safetensors"}
STEP = 6  # at which the second process fails, in the runs in which it does


def _recipe(at_step: Callable[[int, Losses], Losses] | None = None, *, norm: bool = False) -> TinyRecipe:
    """A recipe that draws nothing at random: two processes would draw other numbers than one."""
    return TinyRecipe(norm=norm, dropout=0, at_step=at_step)


# --- what the processes do ---


class _Unreadable(TinyBatches):
    def epoch(self, number, first_step=0):
        for step, batch in enumerate(super().epoch(number, first_step), first_step):
            if (number - 1) * STEPS + step + 1 == STEP and distributed.rank() == 1:
                raise ImageError("ir/7.png: expected a readable image")
            yield batch


def _reported_alone() -> TinyRecipe:
    """A recipe with a parameter on which a part of the loss depends that is only reported."""
    recipe = _recipe(lambda step, losses: losses | {"extra": recipe.network.extra.weight.sum()})
    recipe.network.extra = torch.nn.Linear(1, 1)
    return recipe


def _in_second(action: Callable[[Losses], Losses]) -> Callable[[int, Losses], Losses]:
    return lambda step, losses: action(losses) if (step, distributed.rank()) == (STEP, 1) else losses


def _spoil(losses: Losses) -> Losses:
    return losses | {"total": losses["total"] * float("nan")}


def _kill(number: int) -> Callable[[Losses], Losses]:
    return lambda losses: os.kill(os.getpid(), number) or losses


def _attempt(folder: Path, name: str, recipe: TinyRecipe) -> None:
    """Train, and note weights, history and error of this process."""
    note: dict = {"error": "", "steps": 0}
    try:
        note["history"] = train(recipe, RunFolder(folder / name), settings(tensorboard=False, ema_decay=0.5))
    except TrainingError as error:
        note["error"] = str(error)
    note["steps"] = recipe.steps
    mark = folder / f"{name}-{len(list(folder.glob(f'{name}-*-{distributed.rank()}.json')))}-{distributed.rank()}"
    torch.save(recipe.network.state_dict(), mark.with_suffix(".pt"))
    mark.with_suffix(".json").write_text(json.dumps(note))


def _work(folder: Path) -> None:
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    unreadable = _recipe()
    object.__setattr__(unreadable.stages[0], "batches", _Unreadable())
    with distributed.process_group("cpu"):
        _attempt(folder, "whole", _recipe())
        _attempt(folder, "norm", _recipe(norm=True))
        _attempt(folder, "extra", _reported_alone())
        for name, broken in (
            ("image", unreadable),
            ("nan", _recipe(_in_second(_spoil))),
            ("memory", _recipe(_in_second(lambda losses: losses | {"size": torch.empty(1 << 50).sum()}))),
            ("signal", _recipe(_in_second(_kill(signal.SIGTERM)))),
        ):
            _attempt(folder, name, broken)
            _attempt(folder, name, _recipe())
        _attempt(folder, "death", _recipe(_in_second(_kill(signal.SIGKILL))))


# --- what is expected of them ---


@pytest.fixture(scope="module")
def work(tmp_path_factory, repository):
    """The folder in which two processes have trained, their exit status and what they printed."""
    folder = tmp_path_factory.mktemp("two")
    for name in ("whole", "norm", "extra", "image", "nan", "memory", "signal", "death"):
        new_run(folder / name)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    search = os.pathsep.join([str(repository), str(Path(__file__).parent)])
    done = subprocess.run(
        [*command, __file__, str(folder)],
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return folder, done


def _note(folder: Path, name: str, process: int) -> dict:
    return json.loads((folder / f"{name}-{process}.json").read_text())


def _weights(folder: Path, name: str, process: int) -> dict[str, torch.Tensor]:
    return torch.load(folder / f"{name}-{process}.pt", weights_only=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Weights, history and run of one process with the whole batches."""
    recipe, run = _recipe(), new_run(tmp_path_factory.mktemp("alone"))
    history = train(recipe, run, settings(ema_decay=0.5))
    return recipe.network.state_dict(), without_time(history), run


def _assert_close(ours, theirs) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_two_processes_give_the_weights_and_the_history_of_one(work, alone):
    folder, done = work
    _assert_close(_weights(folder, "whole-0", 0), alone[0])
    for name, tensor in _weights(folder, "whole-0", 0).items():
        assert torch.equal(tensor, _weights(folder, "whole-0", 1)[name])
    for process in (0, 1):
        rows = without_time(_note(folder, "whole-0", process)["history"])
        for row, wanted in zip(rows, alone[1], strict=True):
            assert row == pytest.approx(wanted, abs=1e-6)
    assert "done: 5 epochs, 20 steps" in done.stderr


def test_one_process_alone_writes_and_reports(work):
    folder, done = work
    assert {path.name for path in (folder / "whole").iterdir()} == FILES
    assert done.stderr.count(f"{folder}/whole/best.safetensors has the lowest validation loss") == 1
    # Of the three complete runs, of the four that were broken off once, and of the one that died.
    assert done.stderr.count("all 1/2") == 3 + 4 + 1


def test_normalisation_on_the_cpu_is_said_to_see_a_part_of_the_batch(work):
    folder, done = work
    assert done.stderr.count("batch normalisation on the CPU sees the share of one process") == 1
    assert _note(folder, "norm-0", 1)["error"] == ""
    for name, tensor in _weights(folder, "norm-0", 0).items():
        if "running" not in name:
            assert torch.equal(tensor, _weights(folder, "norm-0", 1)[name]), name


def test_a_parameter_that_the_total_does_not_depend_on_is_left_alone(work, alone):
    folder, _ = work
    weights = _weights(folder, "extra-0", 1)
    assert _note(folder, "extra-0", 1)["history"][-1]["train_extra"] == pytest.approx(
        float(weights["extra.weight"])
    )
    _assert_close({name: weights[name] for name in alone[0]}, alone[0])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("image", "ir/7.png: expected a readable image; training stopped at stage all, epoch 2 of 2, step 2 of 4"),
        ("nan", "the loss is not finite (total nan) at stage all, epoch 2 of 2, step 2 of 4"),
        ("memory", "out of memory at stage all, epoch 2 of 2, step 2 of 4"),
        ("signal", "interrupted at stage all, epoch 2 of 2, step 2 of 4; saved: 1 epoch(s) and 2 step(s)"),
    ],
)
def test_what_ends_one_process_ends_both_with_one_text_and_the_run_goes_on(work, alone, name, text):
    folder, _ = work
    for process in (0, 1):
        assert text in _note(folder, f"{name}-0", process)["error"]
        assert _note(folder, f"{name}-1", process)["error"] == ""
        assert _note(folder, f"{name}-1", process)["steps"] < STEPS * sum(EPOCHS)
        _assert_close(_weights(folder, f"{name}-1", process), alone[0])


def test_a_process_that_is_killed_takes_the_other_with_it_and_one_alone_can_go_on(work, alone):
    folder, done = work
    assert done.returncode != 0
    assert not list(folder.glob("death-*-1.json"))
    recipe, run = _recipe(), RunFolder(folder / "death")
    assert run.load()["progress"]["steps"] == STEPS
    train(recipe, run, settings(ema_decay=0.5))
    _assert_close(recipe.network.state_dict(), alone[0])


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
