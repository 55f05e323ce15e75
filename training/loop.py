"""The training loop: stages, epochs, steps; what is saved when, and how a run goes on after a break.

A run can be killed after any step and goes on from its last checkpoint as if nothing had happened, because

- a batch is a function of seed, epoch and step; the learning rate is a function of stage and step; torch's random
  numbers are seeded anew for each step from seed, stage and step;
- everything else that a step changes is in the checkpoint: weights, their average, the optimiser, the scaler of
  gradients, and the means of the losses so far.

On a CPU the resumed run gives the same bits, with the same number of threads and the same PyTorch. Torch's
deterministic mode is not needed for that, and would only fill fresh memory. On a GPU the order of atomic additions
differs between any two runs, and with it the last bits.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from fusion_ros.settings import Settings, setting

from . import distributed
from .batch import Batch
from .checkpoint import Progress, Row, check_plan
from .failures import Interrupted, Interruption, explained
from .learner import PRECISIONS, Learner
from .monitor import Monitor
from .recipe import Recipe, Stage
from .run_folder import RunFolder, TrainingError

__all__ = ["LoopSettings", "Row", "train"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopSettings(Settings):
    """What every recipe's settings begin with."""

    seed: int = setting(
        0, "Seed of the initial weights, the batches and all else that is random.", bounds=(0, None)
    )
    device: str = setting("cpu", "Where to train.", choices=("cpu", "cuda"))
    threads: int = setting(0, "CPU threads; 0 leaves the choice to torch.", bounds=(0, None))
    precision: str = setting(
        "float32",
        "Arithmetic of the network's convolutions and matrix products; weights stay float32, and float16 "
        "gradients are scaled.",
        choices=tuple(PRECISIONS),
    )
    clip_norm: float = setting(
        0.0, "Norm to which a longer gradient is shortened; 0 leaves it as it is.", bounds=(0, None)
    )
    ema_decay: float = setting(
        0.0,
        "Decay per step of the moving average of the weights; where it is not 0, the average is validated and "
        "published, and is what the next stage begins with.",
        bounds=(0, 0.99999),
    )
    validate_every: int = setting(
        1, "Epochs between two validations; a stage's last epoch is always one.", bounds=(1, None)
    )
    checkpoint_every: int = setting(
        200, "Steps between two checkpoints; the end of an epoch is always one.", bounds=(1, None)
    )
    log_every: int = setting(20, "Steps between two points of the TensorBoard curves.", bounds=(1, None))
    tensorboard: bool = setting(True, "Write curves and pictures for TensorBoard, where it is installed.")


def train(recipe: Recipe, run: RunFolder, settings: LoopSettings) -> list[Row]:
    """Train all stages, going on from the run's last checkpoint.

    Args:
        recipe: What to train, on what, how.
        run: A started run folder; if it holds a checkpoint, training goes on from it.
        settings: Of the loop; those of a recipe are settings of its loop too.

    Returns:
        The history, one row an epoch: ``stage``, ``epoch``, means of the losses as ``train_...``, what the recipe
        validates as ``validation_...`` in epochs that do, ``seconds``.

    Raises:
        TrainingError: Ctrl-C, a loss that is not finite, an image that cannot be used, no memory, no space on the
            disk, or damaged checkpoints. The text says where, what is saved, and how to go on.
        SettingsError: The run was begun with other stages or settings, or there is no such device.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    with distributed.process_group(settings.device), Interruption() as interruption:
        training = _Training(recipe, run, settings, interruption)
        try:
            training.run_stages()
        except (Exception, KeyboardInterrupt) as error:
            reason = explained(error, training.place, training.way_on)
            if reason is None or reason is error:
                raise
            raise reason from error
        finally:
            training.monitor.close()
    return training.progress.history


class _Training:
    """One run: where it stands (``progress``), and what learns in the present stage (``learner``)."""

    def __init__(self, recipe: Recipe, run: RunFolder, settings: LoopSettings, interruption: Interruption) -> None:
        self.recipe = recipe
        self.run = run
        self.settings = settings
        self.interruption = interruption
        self.device = next(recipe.network.parameters()).device
        self.place = "the start"
        self.way_on = f"nothing is saved yet; begin again with --resume {run.path}"
        self.progress = Progress()
        self._broken_off: dict[str, Any] | None = None  # the learner of a stage that was broken off
        self._plan = _plan(recipe, settings)
        distributed.synchronise_norms(recipe.network)
        self._restore()
        wanted = settings.tensorboard and distributed.is_main()
        self.monitor = Monitor(run.events, steps=self.progress.steps, wanted=wanted)

    def run_stages(self) -> None:
        """Train what is left to train."""
        stages = self.recipe.stages
        for number in range(self.progress.stage, len(stages)):
            self.progress.stage = number
            self._run_stage(stages[number])
        done = self.progress
        best = f"{self.run.best} has the lowest validation loss, {done.best:.4f}"
        if not math.isfinite(done.best):
            best = "no validation loss was finite, so there are no best weights"
        _say("done: %d epochs, %d steps; %s", len(done.history), done.steps, best)

    def _run_stage(self, stage: Stage) -> None:
        self._begin(stage)
        steps, done = stage.batches.steps_per_epoch, self.progress
        self._bar = tqdm(
            desc=stage.name,
            initial=(done.epoch - 1) * steps + done.step,
            total=stage.epochs * steps,
            smoothing=0,  # the time left counts validations too
            leave=False,
            disable=None if distributed.is_main() else True,
        )
        with self._bar:
            for _ in range(done.epoch, stage.epochs + 1):
                self._run_epoch(stage)

    def _begin(self, stage: Stage) -> None:
        """Make what learns in this stage, as new or as it was when the stage was broken off."""
        own = self.settings
        self.learner = Learner(
            self.recipe.network,
            stage,
            precision=own.precision,
            clip_norm=own.clip_norm,
            ema_decay=own.ema_decay,
        )
        if self._broken_off:
            self.learner.load_state_dict(self._broken_off)
            self._broken_off = None
        length = f"{stage.epochs} epochs of {stage.batches.steps_per_epoch} steps"
        _say("stage %s: %s, %d parameters", stage.name, length, self.learner.parameters)

    def _run_epoch(self, stage: Stage) -> None:
        done, count = self.progress, stage.batches.steps_per_epoch
        self._clock = time.monotonic()
        stage.prepare(done.epoch)
        with closing(self._batches(stage)) as batches:
            for batch in batches:
                before = (done.epoch - 1) * count + done.step
                rate = stage.rate(before / (stage.epochs * count))
                losses, gradient_norm = self.learner.step(batch, before + 1, rate)
                done.step += 1
                done.steps += 1
                self._note(stage, losses, gradient_norm)
                stop = distributed.any_of(self.interruption.requested)
                # The end of an epoch has a checkpoint of its own, after the validation.
                if stop or (done.steps % self.settings.checkpoint_every == 0 and done.step < count):
                    self._save()
                if stop:
                    raise Interrupted
        self._end_epoch(stage)

    def _batches(self, stage: Stage) -> Generator[Batch, None, None]:
        """Yield the batches that are left of this epoch, on the network's device, torch seeded for each."""
        done, count = self.progress, stage.batches.steps_per_epoch
        with self._saved_on_error():
            batches = stage.batches.epoch(done.epoch, done.step)
        try:
            while done.step < count:
                self.place = (
                    f"stage {stage.name}, epoch {done.epoch} of {stage.epochs}, step {done.step + 1} of {count}"
                )
                self._seed()
                with self._saved_on_error():
                    batch = next(batches, None)
                    if batch is None:
                        raise TrainingError(f"the batches ended at {self.place}: expected {count} in each epoch")
                yield Batch(*(tensor.to(self.device, non_blocking=True) for tensor in batch))
        finally:
            if isinstance(batches, Generator):
                batches.close()  # ends its worker processes now, not when the last reference goes

    def _seed(self) -> None:
        """Seed torch's random numbers, other ones in each process, for the step that comes."""
        words = (self.settings.seed, self.progress.stage, self.progress.steps, distributed.rank())
        torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]))

    def _note(self, stage: Stage, losses: dict[str, float], gradient_norm: float) -> None:
        done, rate = self.progress, self.learner.rate
        done.of_epoch.add(losses)
        done.of_log.add(losses)
        self._bar.set_postfix(loss=f"{losses['total']:.4f}", rate=f"{rate:.2e}", refresh=False)
        self._bar.update()
        if done.steps % self.settings.log_every == 0:
            values = _named("train", done.of_log.take())
            values |= {"learning_rate": rate, "gradient_norm": gradient_norm}
            self.monitor.values(stage.name, values, done.steps)

    def _end_epoch(self, stage: Stage) -> None:
        done = self.progress
        last = done.epoch == stage.epochs
        validation = self._validate(stage) if last or done.epoch % self.settings.validate_every == 0 else {}
        self._tick()
        row = {"stage": stage.name, "epoch": done.epoch, **_named("train", done.of_epoch.take())}
        row |= {**_named("validation", validation), "seconds": round(done.seconds, 2)}
        if last and self.learner.average:
            self.learner.average.put_into_network()
        done.end_epoch(row, last=last)
        self._save(between_stages=last)
        _say("%s", _sentence(row, stage.epochs))
        # A signal during validation is acted on here, unless nothing is left to do.
        finished = last and stage is self.recipe.stages[-1]
        if distributed.any_of(self.interruption.requested) and not finished:
            raise Interrupted

    def _validate(self, stage: Stage) -> dict[str, float]:
        """Return what the main process validates; write the network if it is the best of the last stage."""
        done, average = self.progress, self.learner.average
        judged = stage is self.recipe.stages[-1]
        values: dict[str, float] = {}
        self.place = f"stage {stage.name}, validation of epoch {done.epoch}"
        self._seed()
        with self._saved_on_error(), average.in_network() if average else nullcontext(), torch.no_grad():
            if distributed.is_main():
                values = {name: float(value) for name, value in self.recipe.validate(stage).items()}
                pictures = self.recipe.pictures(stage) if self.monitor.is_on else {}
                if judged and values["loss"] < done.best:
                    self.run.save_best(self.recipe.network)
                # Last, for an epoch whose validation fails is validated again, and points must not come twice.
                self.monitor.values(stage.name, _named("validation", values), done.steps)
                self.monitor.pictures(stage.name, pictures, done.steps)
        values = distributed.from_main(values)
        if not math.isfinite(values["loss"]):
            _say("the validation loss is %s: these weights count as none", values["loss"])
        elif judged:
            done.best = min(done.best, values["loss"])
        return values

    @contextmanager
    def _saved_on_error(self) -> Generator[None, None, None]:
        """Save the run as it stands before an error in something that changes nothing of it."""
        try:
            with distributed.together():
                yield
        except Exception:
            self._save()
            raise

    def _save(self, *, between_stages: bool = False) -> None:
        self._tick()
        state = {
            "plan": self._plan,
            "progress": asdict(self.progress),
            "network": self.recipe.network.state_dict(),
            "learner": None if between_stages else self.learner.state_dict(),
        }
        with distributed.together():
            if distributed.is_main():
                self.monitor.flush()
                self.run.save(state)
                if self.progress.history and not self.progress.step:
                    self.run.write_history(self.progress.history)
        self._tell_way_on()

    def _restore(self) -> None:
        with distributed.together():
            state = self.run.load()
            if state is None:
                return
            check_plan(self._plan, state["plan"])
            self.recipe.network.load_state_dict(state["network"])
            self.progress = Progress.from_state(state["progress"])
            self._broken_off = state["learner"]
            if distributed.is_main() and self.progress.history:
                self.run.write_history(self.progress.history)  # it was killed, perhaps, before this
        self._tell_way_on()
        _say("going on after %d steps", self.progress.steps)

    def _tell_way_on(self) -> None:
        done = self.progress
        saved = f"saved: {len(done.history)} epoch(s) and {done.step} step(s) of the next"
        self.way_on = f"{saved}; go on with --resume {self.run.path}"

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        self._clock = now


def _plan(recipe: Recipe, settings: LoopSettings) -> dict[str, Any]:
    """Return what must not change in a run, for the result depends on it."""
    stages = [[stage.name, stage.epochs, stage.batches.steps_per_epoch] for stage in recipe.stages]
    names = ("seed", "precision", "clip_norm", "ema_decay", "validate_every")
    return {"stages (name, epochs, steps)": stages, **{name: getattr(settings, name) for name in names}}


def _named(kind: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{kind}_{name}": value for name, value in values.items()}


def _sentence(row: Row, epochs: int) -> str:
    values = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name.startswith(("train", "valid")))
    return f"{row['stage']} {row['epoch']}/{epochs}  {values}  ({row['seconds']:.0f} s)"


def _say(text: str, *values: Any) -> None:
    """Tell the user once, not once in each process."""
    if distributed.is_main():
        log.info(text, *values)
