"""The base of the recipes: settings, batches, validation on whole images, pictures to look at."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from fusion_ros.errors import ImageError, SettingsError
from fusion_ros.geometry.warp import warp_by_flow
from fusion_ros.metrics import evaluate, select_columns
from fusion_ros.networks import FusionNetwork

from .. import distributed
from ..batch import Batch
from ..data.pairs import ImageStore, Pair, PairImages, Split
from ..data.sampler import PairSampler
from ..data.simulate import Simulator, parse_simulator
from ..deployed import fuse_images
from ..memory import keep_freed_memory
from ..recipe import Losses, Recipe, Stage
from ..schedules import schedule
from .settings import TrainingSettings

__all__ = ["PairRecipe"]


class PairRecipe(Recipe):
    """Base of the recipes that train on pairs of images.

    Args:
        settings: Of the recipe.
        split: What is trained and validated on.

    Raises:
        SettingsError: There is no such device, or the pairs do not give a batch.
        WeightsError: A file of weights that the settings name cannot be used.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """What is trained, for ``--help``: "train ..."."""
    Settings: ClassVar[type[TrainingSettings]]
    SMALL: ClassVar[Mapping[str, Any]]
    """What ``--small`` changes: a run that two CPU cores finish in about 20 minutes."""

    def __init__(self, settings: Any, split: Split) -> None:
        if settings.device == "cuda" and not torch.cuda.is_available():
            raise SettingsError("device: expected a CUDA device, found none; use --device cpu")
        keep_freed_memory()
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.split = split
        self.device = distributed.device(settings.device)
        self.network: FusionNetwork = self.build_network(settings).to(self.device)
        self.simulator: Simulator | None = parse_simulator(settings.simulate)
        self._columns = select_columns(settings.metrics)
        still = dataclasses.replace(settings, flip=False, intensity=0.0, fit=_still_fit(settings.fit), workers=0)
        self._images = ImageStore()  # one, so that stages on the same pairs do not each keep their own copies
        self._validation = PairSampler(
            split.validation, still, seed=settings.seed + 1, simulator=self.simulator, images=self._images
        )
        self.stages = tuple(self.make_stages())

    def check_images(self) -> None:
        """Make the first batches, so that images that cannot be used are named before a run begins.

        Where images are kept in memory, this reads them all, and training does not read them again.

        Raises:
            ImageError: Too many of them cannot be used.
        """
        for batches in (self.stages[0].batches, self._validation):
            with closing(batches.epoch(1)) as first:
                next(first)

    @classmethod
    @abstractmethod
    def build_network(cls, settings: Any) -> FusionNetwork:
        """Return the network, with fresh weights."""

    @classmethod
    @abstractmethod
    def notes(cls, settings: Any) -> tuple[str, ...]:
        """Say for a model card what was done, and where it leaves the paper."""

    @abstractmethod
    def make_stages(self) -> Iterator[Stage]:
        """Yield the stages of the training."""

    def stage(
        self,
        name: str,
        epochs: int,
        losses: Callable[[Batch], Losses],
        *,
        trained: Sequence[nn.Module] | None = None,
        prepare: Callable[[int], None] | None = None,
        pairs: Sequence[Pair] | None = None,
    ) -> Stage:
        """Return a stage with what is common to most: Adam, this recipe's schedule, this recipe's batches.

        Args:
            name: As in :class:`Stage`.
            epochs: As in :class:`Stage`.
            losses: Of a batch on the network's device.
            trained: None trains the whole network.
            prepare: None puts the whole network into training mode.
            pairs: What it is trained on; None takes the pairs for training as they are.
        """
        settings = self.settings
        batches = PairSampler(
            self.split.train if pairs is None else pairs,
            settings,
            seed=settings.seed,
            simulator=self.simulator,
            per_epoch=settings.pairs_per_epoch or None,
            rank=distributed.rank(),
            world=distributed.world(),
            images=self._images,
        )
        return Stage(
            name=name,
            epochs=epochs,
            batches=batches,
            losses=losses,
            trained=(self.network,) if trained is None else trained,
            optimiser=lambda parameters: torch.optim.Adam(parameters, settings.learning_rate),
            rate=schedule(settings.schedule),
            prepare=prepare or self._prepare,
        )

    def _prepare(self, epoch: int) -> None:
        self.network.train()

    @torch.no_grad()
    def validate(self, stage: Stage) -> dict[str, float]:
        """Return the stage's loss over centre crops and, where it gives an image, metrics of whole pairs.

        The first pairs that can be read are measured; where none can be, there are no metrics.
        """
        self.network.eval()
        rows = [
            stage.losses(Batch(*(part.to(self.device) for part in batch))) for batch in self._validation.epoch(1)
        ]
        result = {"loss": float(np.mean([float(row["total"]) for row in rows]))}
        if not self.gives_image(stage):
            return result
        measured = [self._measure(*pair) for pair in islice(self._readable(), self.settings.metric_pairs)]
        names = measured[0] if measured else ()
        return result | {name: float(np.mean([row[name] for row in measured])) for name in names}

    def gives_image(self, stage: Stage) -> bool:
        """Return whether the network fuses as it will when published, after this stage."""
        return stage is self.stages[-1]

    @torch.no_grad()
    def pictures(self, stage: Stage) -> dict[str, np.ndarray]:
        """Return infrared, visible and fused image of the first validation pair that can be read, side by side."""
        images = next(self._readable(), None)
        if images is None:
            return {}
        infrared, visible, _ = images
        self.network.eval()
        shown = [infrared, visible]
        if self.gives_image(stage):
            shown.append(fuse_images(self.network, infrared, visible))
        return {"infrared, visible, fused": np.concatenate(shown, axis=1)}

    def _readable(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield the images of the validation pairs that can be read; the sampler names the others."""
        for index, pair in enumerate(self.split.validation):
            try:
                images = self._images.read(pair)
            except ImageError:
                continue
            yield self._validation_images(index, images)

    def _validation_images(self, index: int, images: PairImages) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return infrared image as the network is given it, visible, and infrared image as it ought to lie."""
        infrared, visible, flow = images
        registered = infrared if flow is None else warp_by_flow(infrared, flow)
        if not self.network.spec.aligns:
            infrared = registered
        elif self.simulator is not None:
            infrared, _ = self.simulator(registered, np.random.default_rng((self.settings.seed, index)))
        return infrared, visible, registered

    def _measure(self, infrared: np.ndarray, visible: np.ndarray, registered: np.ndarray) -> dict[str, float]:
        fused = fuse_images(self.network, infrared, visible)
        return evaluate(registered, visible, fused, self._columns)


def _still_fit(fit: str) -> str:
    """The window that does not move: validation is to see the same crops at every epoch."""
    return "centre" if fit == "crop" else fit
