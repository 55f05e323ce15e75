"""What ends a training run before its end: what the user reads, what is kept, and that the run can go on."""

from __future__ import annotations

import math
import os
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from tiny_recipe import STEPS, TinyBatches, TinyRecipe, new_run, settings, without_time

from fusion_ros.errors import ImageError, SettingsError
from fusion_ros.files import write_atomically
from training import distributed
from training.loop import train
from training.run_folder import RunFolder, TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Weights and history of the run that was never broken."""
    recipe = TinyRecipe()
    history = train(recipe, new_run(tmp_path_factory.mktemp("unbroken")), settings())
    return recipe.network.state_dict(), without_time(history)


def _assert_goes_on(run: RunFolder, unbroken, recipe: TinyRecipe | None = None) -> None:
    """Resume a run, and find it as if it had never been broken."""
    recipe = recipe or TinyRecipe(seed=7)  # the initial weights are those of the run
    assert without_time(train(recipe, run, settings())) == unbroken[1]
    for name, tensor in recipe.network.state_dict().items():
        assert torch.equal(tensor, unbroken[0][name]), name
    assert not list(run.path.glob(".*"))


def _at(step: int, action):
    """Apply ``action`` to the losses of one step of a run."""
    return lambda number, losses: action(losses) if number == step else losses


def _steps_saved(run: RunFolder) -> int:
    return run.load()["progress"]["steps"]


def _raising(error: Exception):
    def action(losses):
        raise error

    return action


# --- the loss ---


def test_a_loss_that_is_not_finite_is_explained_and_spoils_no_checkpoint(tmp_path, unbroken):
    run = new_run(tmp_path)

    def spoil(losses):
        return losses | {"total": losses["total"] * math.nan, "size": losses["size"] * math.inf}

    with pytest.raises(TrainingError) as caught:
        train(TinyRecipe(at_step=_at(6, spoil)), run, settings())
    text = str(caught.value)
    assert "the loss is not finite (total nan, size inf) at stage all, epoch 2 of 2, step 2 of 4" in text
    assert "lower --learning-rate" in text
    assert f"saved: 1 epoch(s) and 0 step(s) of the next; go on with --resume {run.path}" in text
    assert _steps_saved(run) == 4
    _assert_goes_on(run, unbroken)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(tmp_path, unbroken):
    run = new_run(tmp_path)
    recipe = TinyRecipe()
    before = []

    def spoil(losses):  # a finite loss, of which 0 / 0 is the derivative
        before.append({name: tensor.clone() for name, tensor in recipe.network.named_parameters()})
        return losses | {"total": losses["total"] + (0 * losses["size"]).sqrt()}

    recipe.at_step = _at(6, spoil)
    with pytest.raises(TrainingError, match=r"the gradient is not finite .* epoch 2 of 2, step 2 of 4"):
        train(recipe, run, settings())
    for name, parameter in recipe.network.named_parameters():
        assert torch.equal(parameter, before[0][name]), name
    _assert_goes_on(run, unbroken)


# --- memory and disk ---


def _too_much_for_the_cpu(losses):
    return losses | {"size": torch.empty(1 << 50).sum()}


@pytest.mark.parametrize(
    "action",
    [
        _too_much_for_the_cpu,
        _raising(MemoryError()),
        _raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")),
    ],
    ids=["CPU allocator", "Python", "CUDA"],
)
def test_out_of_memory_says_what_takes_less(tmp_path, unbroken, action):
    run = new_run(tmp_path)
    with pytest.raises(TrainingError) as caught:
        train(TinyRecipe(at_step=_at(7, action)), run, settings())
    text = str(caught.value)
    assert "out of memory at stage all, epoch 2 of 2, step 3 of 4" in text
    assert "half the --batch or --crop, or with --precision bfloat16" in text
    assert "saved: 1 epoch(s) and 2 step(s) of the next; go on with --resume" in text
    _assert_goes_on(run, unbroken)


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to write more than this into a file, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_checkpoint_before_and_no_rest_of_the_new_one(tmp_path, unbroken):
    run = new_run(tmp_path)
    limit = _largest_file(2000)
    recipe = TinyRecipe(at_step=_at(5, lambda losses: limit.__enter__() or losses))
    try:
        with pytest.raises(TrainingError) as caught:
            train(recipe, run, settings())
    finally:
        limit.__exit__(None, None, None)
    text = str(caught.value)
    assert f"no space left for {run.path / 'last.pt'}: it needs 0.0 MB, and" in text
    assert f"make room; what {run.path} held before is intact: go on with --resume {run.path}" in text
    assert not list(run.path.glob(".*"))
    assert _steps_saved(run) == 4
    _assert_goes_on(run, unbroken)


def test_a_folder_that_vanishes_is_named(tmp_path):
    run = new_run(tmp_path / "run")
    recipe = TinyRecipe(at_step=_at(5, lambda losses: shutil.rmtree(run.path) or losses))
    with pytest.raises(TrainingError, match=r"cannot write .*last\.pt: No such file or directory"):
        train(recipe, run, settings())


def test_a_file_that_cannot_be_completed_leaves_the_old_one(tmp_path):
    path = tmp_path / "last.pt"
    write_atomically(path, b"old")
    with _largest_file(1000), pytest.raises(OSError, match="File too large"):
        write_atomically(path, bytes(2000), keep=tmp_path / "previous.pt")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]
    write_atomically(path, b"new", keep=tmp_path / "previous.pt")
    assert (path.read_bytes(), (tmp_path / "previous.pt").read_bytes()) == (b"new", b"old")


def _cut(content: bytes, state: dict) -> bytes:
    return content[: len(content) // 2]


def _flip_a_bit_of_a_weight(content: bytes, state: dict) -> bytes:
    place = content.index(state["network"]["decoder.weight"].numpy().tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def _empty(content: bytes, state: dict) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [_cut, _flip_a_bit_of_a_weight, _empty])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, unbroken, caplog, damage):
    run = new_run(tmp_path)
    with pytest.raises(TrainingError):
        train(TinyRecipe(at_step=_at(12, _raising(MemoryError()))), run, settings())
    last = run.path / "last.pt"
    assert _steps_saved(run) == 9
    last.write_bytes(damage(last.read_bytes(), run.load()))
    _assert_goes_on(run, unbroken)
    assert "last.pt is damaged" in caplog.text
    assert "going on from previous.pt, which is older" in caplog.text


def test_damage_to_all_checkpoints_is_named(tmp_path):
    run = new_run(tmp_path)
    train(TinyRecipe(), run, settings())
    for name in ("last.pt", "previous.pt"):
        (run.path / name).write_bytes(b"PK" + bytes(100))
    with pytest.raises(
        TrainingError, match=r"last\.pt is damaged .* and .*previous\.pt is damaged .*start a new run"
    ):
        train(TinyRecipe(), run, settings())


# --- signals ---


def _signal(number: int, times: int = 1):
    def action(losses):
        for _ in range(times):
            os.kill(os.getpid(), number)
        return losses

    return action


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [2, 8, 9])
def test_a_signal_ends_the_run_after_the_running_step_which_is_saved(tmp_path, unbroken, number, step):
    run, handler = new_run(tmp_path), signal.getsignal(number)
    with pytest.raises(TrainingError, match=r"interrupted at stage .*step \d of 4; saved: .*go on with --resume"):
        train(TinyRecipe(at_step=_at(step, _signal(number))), run, settings(checkpoint_every=100))
    assert _steps_saved(run) == step
    assert signal.getsignal(number) is handler
    _assert_goes_on(run, unbroken)


def test_a_second_signal_ends_the_run_at_once_and_the_last_checkpoint_is_kept(tmp_path, unbroken):
    run = new_run(tmp_path)
    with pytest.raises(TrainingError, match=r"ended at once, at stage all, epoch 2 of 2, step 2 of 4; saved: 1"):
        train(TinyRecipe(at_step=_at(6, _signal(signal.SIGINT, times=2))), run, settings())
    assert _steps_saved(run) == 4
    _assert_goes_on(run, unbroken)


def test_a_signal_during_validation_ends_the_run_after_it_and_never_a_complete_run(tmp_path, unbroken):
    validations = []

    class Recipe(TinyRecipe):
        def validate(self, stage):
            validations.append(stage.name)
            if len(validations) in (2, 5):
                os.kill(os.getpid(), signal.SIGINT)
            return super().validate(stage)

    run = new_run(tmp_path)
    with pytest.raises(
        TrainingError, match=r"interrupted at stage all, validation of epoch 2; saved: 2 epoch\(s\)"
    ):
        train(Recipe(), run, settings())
    assert validations == ["all", "all"]
    _assert_goes_on(run, unbroken, Recipe(seed=7))
    assert len(validations) == 5


# --- data, and faults ---


class _BrokenBatches(TinyBatches):
    """Reads an image that is broken, in the second epoch."""

    def epoch(self, number, first_step=0):
        for step, batch in enumerate(super().epoch(number, first_step), first_step):
            if (number, step) == (2, 1):
                raise ImageError("ir/7.png: expected a readable image")
            yield batch


def test_an_unusable_image_ends_the_run_after_all_before_it_is_saved(tmp_path, unbroken):
    run, recipe = new_run(tmp_path), TinyRecipe()
    object.__setattr__(recipe.stages[0], "batches", _BrokenBatches())
    with pytest.raises(TrainingError) as caught:
        train(recipe, run, settings(checkpoint_every=100))
    text = str(caught.value)
    assert "ir/7.png: expected a readable image; training stopped at stage all, epoch 2 of 2, step 2 of 4" in text
    assert "saved: 1 epoch(s) and 1 step(s) of the next; go on with --resume" in text
    _assert_goes_on(run, unbroken)


@pytest.mark.parametrize("part", ["validate", "pictures"])
def test_a_validation_that_fails_is_repeated_when_the_run_goes_on(tmp_path, unbroken, part):
    pytest.importorskip("tensorboard")
    run, recipe = new_run(tmp_path), TinyRecipe()
    error = ImageError("ir/9.png: expected a readable image")
    setattr(recipe, part, lambda stage: _raising(error)(stage))
    with pytest.raises(
        TrainingError, match=r"9\.png: .*stage all, validation of epoch 1; saved: 0 epoch\(s\) and 4"
    ):
        train(recipe, run, settings(checkpoint_every=100, tensorboard=True))
    _assert_goes_on(run, unbroken)


def test_batches_that_end_too_early_are_a_fault_that_is_named(tmp_path):
    recipe = TinyRecipe()
    short = TinyBatches(steps=2)
    short.epoch = lambda number, first_step=0: iter(list(TinyBatches(steps=2).epoch(number, first_step)))
    short.steps_per_epoch = STEPS
    object.__setattr__(recipe.stages[0], "batches", short)
    with pytest.raises(TrainingError, match=r"the batches ended at .*step 3 of 4: expected 4 in each epoch"):
        train(recipe, new_run(tmp_path), settings())


def test_a_fault_of_the_program_is_not_disguised(tmp_path):
    with pytest.raises(KeyError, match="totl"):
        train(TinyRecipe(at_step=_at(3, lambda losses: {"total": losses["totl"]})), new_run(tmp_path), settings())


def test_a_folder_holds_one_run(tmp_path):
    run = new_run(tmp_path)
    assert run.environment()["processes"] == 1
    with pytest.raises(SettingsError, match=r"already holds a run; go on with --resume"):
        run.start({"recipe": "tiny"})
    with pytest.raises(SettingsError, match="holds no training run"):
        RunFolder(tmp_path / "nothing").request()


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SettingsError, match="expected a CUDA device, found none; use --device cpu"):
        distributed.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert distributed.device("cuda") == torch.device("cuda", 0)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(SettingsError, match="expected 3 or more CUDA devices, one a process, found 2"):
        distributed.device("cuda")
