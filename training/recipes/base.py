"""What the recipes have in common: settings, batches, validation on whole images, pictures to look at."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fusion_ros.checkpoints import differences
from fusion_ros.errors import SettingsError, WeightsError
from fusion_ros.geometry.warp import warp_by_flow
from fusion_ros.metrics import evaluate, select_columns
from fusion_ros.networks import FusionNetwork, InputRange
from fusion_ros.settings import setting

from .. import distributed
from ..batch import Batch
from ..data.pairs import Pair, Split
from ..data.sampler import PairSampler, SamplerSettings
from ..data.simulate import Simulator, parse_simulator
from ..deployed import fuse_images
from ..loop import LoopSettings
from ..losses.detail import contrast_loss, correlation_loss, gradient_loss, intensity_loss
from ..losses.perceptual import FeatureExtractor, StructureFeatures
from ..losses.ssim import ssim
from ..losses.stretch import stretched
from ..losses.vgg import VGG16Features, VGGConvention
from ..memory import keep_freed_memory
from ..recipe import Losses, Recipe, Stage
from ..schedules import SCHEDULES, schedule

__all__ = [
    "OwnTerms",
    "PairRecipe",
    "PerceptualSettings",
    "TrainingSettings",
    "begin_with",
    "described_training",
    "network_inputs",
]


@dataclass(frozen=True)
class TrainingSettings(SamplerSettings, LoopSettings):
    """What every recipe that trains on pairs of images can be told."""

    learning_rate: float = setting(1e-3, "Adam's learning rate at the start.", bounds=(1e-8, 1.0))
    schedule: str = setting(
        "constant",
        "How the learning rate goes on: constant; cosine, down to zero; steps, a tenth at each third of a stage.",
        choices=SCHEDULES,
    )
    pairs_per_epoch: int = setting(0, "Crops drawn for an epoch; 0 takes one of every pair.", bounds=(0, None))
    simulate: str = setting(
        "none",
        "Misalignment given to the infrared image: none, or such as translation:8 or elastic:normal; of several "
        "joined by +, each sample gets one.",
    )
    metrics: str = setting("EN,SD,CC,SSIM", "Metrics of a validation, as `fusion-ros metrics` names them.")
    metric_pairs: int = setting(
        20, "Validation pairs that are fused whole and measured; 0 measures none.", bounds=(0, None)
    )
    validation_share: float = setting(
        0.1, "Share of the pairs to validate on where neither a list nor the set says which.", bounds=(0.01, 0.9)
    )

    def check(self) -> None:
        """Check what each part of the settings checks, and that names mean something."""
        SamplerSettings.check(self)
        LoopSettings.check(self)
        parse_simulator(self.simulate)
        select_columns(self.metrics)


@dataclass(frozen=True)
class OwnTerms(TrainingSettings):
    """Terms of ours that may be added to a paper's loss; see :mod:`training.losses.detail`."""

    gradient_weight: float = setting(
        0.0, "Ours: weight of the distance from the stronger source's edges.", bounds=(0, None)
    )
    structure_weight: float = setting(0.0, "Ours: weight of 1 - SSIM with each of the sources.", bounds=(0, None))
    intensity_weight: float = setting(
        0.0, "Ours: weight of the distance from the brighter source.", bounds=(0, None)
    )
    contrast_weight: float = setting(
        0.0, "Ours: weight of the distance from the larger deviation of the sources.", bounds=(0, None)
    )
    correlation_weight: float = setting(
        0.0, "Ours: weight of 1 - mean correlation with the sources.", bounds=(0, None)
    )

    def with_own_terms(self, losses: Losses, fused: Tensor, batch: Batch) -> Losses:
        """Return the losses with the terms whose weight is not 0 added to ``total``.

        Args:
            losses: The paper's.
            fused: ``(B, 1, h, w)``, the network's output as an image.
            batch: What it was made of; the registered infrared image is what counts.
        """
        total = losses["total"]
        for name, term in _OWN_TERMS.items():
            if weight := getattr(self, f"{name}_weight"):
                value = term(fused, batch.registered, batch.visible)
                losses = losses | {f"own_{name}": value}
                total = total + weight * value
        return losses | {"total": total}

    def describe_own_terms(self) -> tuple[str, ...]:
        """Say for a model card what was added to the paper's loss, if anything."""
        used = {name: weight for name in _OWN_TERMS if (weight := getattr(self, f"{name}_weight"))}
        if not used:
            return ()
        words = ", ".join(f"{weight:g} x {_OWN_WORDS[name]}" for name, weight in used.items())
        return (f"Ours, added to the paper's loss, all means over crops with values in [0, 1]: {words}.",)


def _structure_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    return 2 - ssim(fused, infrared) - ssim(fused, visible)


_OWN_TERMS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "gradient": gradient_loss,
    "structure": _structure_loss,
    "intensity": intensity_loss,
    "contrast": contrast_loss,
    "correlation": correlation_loss,
}
_OWN_WORDS = {
    "gradient": "|Sobel(fused) - the stronger of the sources' derivatives|",
    "structure": "(2 - SSIM(fused, infrared) - SSIM(fused, visible))",
    "intensity": "|fused - max(infrared, visible)|",
    "contrast": "|std(fused) - max(std(infrared), std(visible))|",
    "correlation": "(1 - mean Pearson correlation with the sources)",
}


_SCALES: Mapping[VGGConvention, float] = {"imagenet": 1.0, "byte": 255.0}


@dataclass(frozen=True)
class PerceptualSettings(OwnTerms):
    """Of recipes with a perceptual loss."""

    vgg: str = setting(
        "",
        "Path of torchvision's VGG-16 ImageNet checkpoint (vgg16-397923af.pth); empty takes fixed edge filters "
        "in its place.",
    )

    def describe_features(self, convention: VGGConvention) -> str:
        """Say for a model card what the perceptual terms compare.

        Args:
            convention: As for :meth:`PairRecipe.perceptual_features`.
        """
        if self.vgg:
            return "Perceptual terms compare features of VGG-16 with torchvision's ImageNet weights."
        return StructureFeatures(_SCALES[convention]).describe()


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
        self._validation = PairSampler(split.validation, still, seed=settings.seed + 1, simulator=self.simulator)
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
        """Return the stage's loss over centre crops and, where it gives an image, metrics of whole pairs."""
        self.network.eval()
        rows = [
            stage.losses(Batch(*(part.to(self.device) for part in batch))) for batch in self._validation.epoch(1)
        ]
        result = {"loss": float(np.mean([float(row["total"]) for row in rows]))}
        if not self.gives_image(stage):
            return result
        measured = [
            self._measure(index) for index in range(min(self.settings.metric_pairs, len(self.split.validation)))
        ]
        names = measured[0] if measured else ()
        return result | {name: float(np.mean([row[name] for row in measured])) for name in names}

    def gives_image(self, stage: Stage) -> bool:
        """Return whether the network fuses as it will when published, after this stage."""
        return stage is self.stages[-1]

    @torch.no_grad()
    def pictures(self, stage: Stage) -> dict[str, np.ndarray]:
        """Return infrared, visible and fused image of the first validation pair, side by side."""
        infrared, visible, _ = self._validation_images(0)
        self.network.eval()
        shown = [infrared, visible]
        if self.gives_image(stage):
            shown.append(fuse_images(self.network, infrared, visible))
        return {"infrared, visible, fused": np.concatenate(shown, axis=1)}

    def _validation_images(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return infrared image as the network is given it, visible, and infrared image as it ought to lie."""
        infrared, visible, flow = self.split.validation[index].read()
        registered = infrared if flow is None else warp_by_flow(infrared, flow)
        if not self.network.spec.aligns:
            infrared = registered
        elif self.simulator is not None:
            infrared, _ = self.simulator(registered, np.random.default_rng((self.settings.seed, index)))
        return infrared, visible, registered

    def _measure(self, index: int) -> dict[str, float]:
        infrared, visible, registered = self._validation_images(index)
        fused = fuse_images(self.network, infrared, visible)
        return evaluate(registered, visible, fused, self._columns)

    def perceptual_features(self, convention: VGGConvention) -> FeatureExtractor:
        """Return VGG-16 from the user's file, or what stands in for it, on the network's device.

        Args:
            convention: What values VGG-16 is given; the stand-in is scaled alike.
        """
        path = self.settings.vgg
        features = VGG16Features(path, convention=convention) if path else StructureFeatures(_SCALES[convention])
        return features.to(self.device)


def network_inputs(network: FusionNetwork, infrared: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Return crops in [0, 1] in the value range that the network takes."""
    images = (infrared, visible)
    if network.spec.input_range is InputRange.BYTE:
        infrared, visible = (255 * image for image in images)
    elif network.spec.input_range is InputRange.STRETCHED:
        infrared, visible = (stretched(image) for image in images)
    return infrared, visible


def begin_with(part: nn.Module, given: nn.Module, misfit: str, width: str) -> None:
    """Begin a part of a network with the weights of another, which the setting ``start`` named.

    Args:
        part: What is to begin with them.
        given: Has them.
        misfit: For the message: what is wrong if they do not fit.
        width: The option that says how wide the part is.

    Raises:
        WeightsError: They do not fit.
    """
    tensors = given.state_dict()
    problem = differences(part.state_dict(), tensors)
    if problem:
        raise WeightsError(f"start: {misfit}: {problem}; give another model, or {width}")
    part.load_state_dict(tensors)


def described_training(settings: Any, paper: str) -> str:
    """Say for a model card how fast, how long and on crops of what size was trained, and what the paper has."""
    s = settings
    return (
        f"Adam {s.learning_rate:g}, {s.schedule} schedule, {s.epochs} epochs, batches of {s.batch} crops of "
        f"{s.crop} px (the paper: {paper})."
    )


def _still_fit(fit: str) -> str:
    """The window that does not move: validation is to see the same crops at every epoch."""
    return "centre" if fit == "crop" else fit
