"""A recipe of two stages that trains in milliseconds, for the tests of the loop; run by itself, it is a training.

python test/offline/tiny_recipe.py FOLDER [name=value ...]
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fusion_ros.errors import FusionError
from fusion_ros.settings import parse_assignments
from training import distributed
from training.batch import Batch
from training.loop import LoopSettings, train
from training.recipe import Losses, Recipe, Stage
from training.run_folder import RunFolder

__all__ = [
    "EPOCHS",
    "STEPS",
    "Killed",
    "TinyBatches",
    "TinyNetwork",
    "TinyRecipe",
    "kill_at",
    "new_run",
    "settings",
    "without_time",
]

STEPS = 4  # in an epoch
EPOCHS = (2, 3)  # of the two stages


def settings(**changes) -> LoopSettings:
    """Settings of the loop for tests: without TensorBoard, which takes a while."""
    return LoopSettings.from_mapping({"tensorboard": False, "checkpoint_every": 3} | changes)


def new_run(path: Path) -> RunFolder:
    """Return a started run folder."""
    run = RunFolder(path)
    run.start({"recipe": "tiny"})
    return run


def without_time(history: list[dict]) -> list[dict]:
    """Return a history that two equal runs share."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


class Killed(BaseException):
    """Stands for the end of the process: nothing in the loop may react to it."""


class TinyBatches:
    """Batches of noise; each is a function of epoch and step, and each process gets its share of it."""

    def __init__(self, steps: int = STEPS, size: int = 4) -> None:
        self.steps_per_epoch = steps
        self.size = size

    def epoch(self, number: int, first_step: int = 0) -> Iterator[Batch]:
        share = slice(distributed.rank(), None, distributed.world())
        for step in range(first_step, self.steps_per_epoch):
            yield Batch(*(tensor[share] for tensor in self.whole(number, step)))

    def whole(self, epoch: int, step: int) -> Batch:
        """Return a batch as one process is given it."""
        rng = np.random.default_rng((epoch, step))
        infrared, visible = torch.from_numpy(rng.random((2, self.size, 1, 6, 6), dtype=np.float32))
        return Batch(infrared, visible, infrared, torch.zeros(self.size, 2, 6, 6), torch.ones_like(infrared))


class TinyNetwork(nn.Module):
    """Two convolutions, with batch normalisation for its buffers and dropout for its random numbers."""

    def __init__(self, *, norm: bool, dropout: float) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3) if norm else nn.Identity())
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        hidden = torch.tanh(self.encoder(torch.cat([infrared, visible], 1)))
        return self.decoder(self.dropout(hidden))


class TinyRecipe(Recipe):
    """Trains all with momentum, then the decoder alone with Adam.

    Args:
        norm: Whether there is batch normalisation.
        dropout: Share of features that are dropped.
        at_step: Called with the number of each step of the run, from 1, and its losses; returns them.
    """

    def __init__(
        self,
        *,
        norm: bool = True,
        dropout: float = 0.3,
        seed: int = 0,
        at_step: Callable[[int, Losses], Losses] | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.network = TinyNetwork(norm=norm, dropout=dropout)
        self.stages = (
            self._stage("all", EPOCHS[0], [self.network], self._sgd),
            self._stage("decoder", EPOCHS[1], [self.network.decoder], self._adam),
        )
        self.at_step = at_step or (lambda step, losses: losses)
        self.steps = 0
        self.optimiser: torch.optim.Optimizer | None = None

    def _stage(self, name: str, epochs: int, trained: list[nn.Module], optimiser: Callable) -> Stage:
        return Stage(
            name=name,
            epochs=epochs,
            batches=TinyBatches(),
            losses=self._losses,
            trained=trained,
            optimiser=optimiser,
            rate=lambda progress: 1 - progress,
            prepare=lambda epoch: self.network.train(),
        )

    def _sgd(self, parameters) -> torch.optim.Optimizer:
        self.optimiser = torch.optim.SGD(parameters, 0.1, momentum=0.9)
        return self.optimiser

    def _adam(self, parameters) -> torch.optim.Optimizer:
        self.optimiser = torch.optim.Adam(parameters, 0.01)
        return self.optimiser

    def _losses(self, batch: Batch) -> Losses:
        self.steps += 1
        fused = self.network(batch.infrared, batch.visible)
        pixel = (fused - batch.visible).square().mean()
        size = fused.square().mean()
        return self.at_step(self.steps, {"total": pixel + 0.1 * size, "pixel": pixel, "size": size})

    def validate(self, stage: Stage) -> dict[str, float]:
        self.network.eval()
        batch = TinyBatches().whole(99, 0)
        fused = self.network(batch.infrared, batch.visible)
        return {"loss": (fused - batch.visible).square().mean().item(), "mean": fused.mean().item()}

    def pictures(self, stage: Stage) -> dict[str, np.ndarray]:
        fused = self.network(*TinyBatches().whole(99, 0)[:2])
        grey = (fused[0, 0].clamp(0, 1) * 255).to(torch.uint8).numpy()
        return {"fused": grey, "colour": np.stack([grey, grey, 255 - grey], axis=-1)}


def kill_at(step: int) -> Callable[[int, Losses], Losses]:
    """Return what ends a run in the middle of a step; see :class:`TinyRecipe`."""

    def at_step(number: int, losses: Losses) -> Losses:
        if number == step:
            raise Killed
        return losses

    return at_step


def _main(folder: str, *assignments: str) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    run = RunFolder(Path(folder))
    with suppress(FusionError):  # one that is there is gone on with
        run.start({"recipe": "tiny"})
    slowly = TinyRecipe(at_step=lambda step, losses: time.sleep(0.02) or losses)
    try:
        train(slowly, run, settings(**parse_assignments(",".join(assignments))))
    except FusionError as error:
        logging.error("error: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
