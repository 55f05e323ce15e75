"""Train the matching register: known deformations of real pairs, and of images in two guises.

ReCoNet's paper (Huang et al., ECCV 2022, section 2.4) trains its register on random deformations of the infrared
image; so is this one. What is ours: classification of displacements beside the distance, pairs that are
registered better than their sets have them, and, for a beginning, pairs that are easy. And, since no set is
registered to the pixel: in the same pair as it came and deformed the register has to find the same places,
whatever the set says, which is also what is measured of it (:mod:`fusion_ros.evaluation.registration.measure`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_ros.alignment.estimate import Estimator
from fusion_ros.alignment.learned import LearnedEstimator, LearnedSettings
from fusion_ros.alignment.structural import StructuralEstimator
from fusion_ros.engines import EngineSettings, open_engine
from fusion_ros.errors import SettingsError
from fusion_ros.imaging.flow_picture import flow_picture
from fusion_ros.networks import FusionNetwork, MatchingRegister, MatchingRegisterSettings
from fusion_ros.networks.flow import warp
from fusion_ros.settings import setting
from fusion_ros.weights import load_network

from ..batch import Batch
from ..data.pairs import Pair, Split
from ..data.reading import in_threads
from ..data.sampler import FITS
from ..data.variants import Disguised, Registered, Rescaled
from ..losses.matching import composed, displacement_loss, endpoint_loss, remaining, smoothed
from ..recipe import Losses, Stage
from ..schedules import SCHEDULES
from .networks import begin_with
from .pair_recipe import PairRecipe
from .settings import TrainingSettings, described_training

__all__ = ["MatchingRegisterRecipe", "MatchingRegisterTraining"]

_DESCRIBED, _DECIDED = 4, 8  # px: pitch of the network's descriptors, and of its flow
_ALL_OF_IT = 0.99
_SIGMA = LearnedSettings().smoothing_px / _DECIDED  # of the flow's values
_ONCE = 0.6  # how often one answer of its own goes before; else two


@dataclass(frozen=True)
class MatchingRegisterTraining(TrainingSettings):
    """Settings of the register's training."""

    simulate: str = setting(
        "translation:8 + affine:8 + perspective:8 + elastic:5 + elastic:5 + mixed:8",
        "Misalignment given to the infrared image; of several joined by +, each sample gets one.",
    )
    learning_rate: float = setting(2e-3, "Adam's learning rate at the start.", bounds=(1e-8, 1.0))
    schedule: str = setting("cosine", "How the learning rate goes on.", choices=SCHEDULES)
    epochs: int = setting(100, "Passes of pairs_per_epoch samples.", bounds=(1, None))
    pairs_per_epoch: int = setting(1200, "Crops drawn for an epoch; 0 takes one of every pair.", bounds=(0, None))
    crop: int = setting(192, "Side of the square training crops, a multiple of 8.", unit="px", bounds=(64, None))
    fit: str = setting("crop", "How an image becomes a square.", choices=FITS)
    batch: int = setting(4, "Crops in a batch, of all processes together.", bounds=(1, None))
    intensity: float = setting(0.5, "Strength of random changes of gamma, contrast and brightness.", bounds=(0, 1))
    ema_decay: float = setting(
        0.998,
        "Decay per step of the moving average of the weights, which is validated and published; 0 is off.",
        bounds=(0.0, 0.99999),
    )
    noise: float = setting(
        0.05, "Largest deviation of noise, given to two images in five; of the full range.", bounds=(0, 1)
    )
    register_first: bool = setting(
        True, "Register the pairs by structural translation before training, where that is sure."
    )
    teacher: str = setting(
        "",
        "Model of a register, a name or a folder, that registers the pairs first, locally too, where it is sure; "
        "else the structural translation does.",
    )
    start: str = setting("", "Model of a matching register to begin with, a name or a folder.")
    scales: tuple[float, ...] = setting(
        (0.75, 1.35), "Sizes at which every pair is seen beside its own.", bounds=(0.1, 4.0), element=float
    )
    disguised: float = setting(
        0.5, "Share of the samples that are one image in two guises, which are easy.", bounds=(0, 0.9)
    )
    recognition_weight: float = setting(
        0.3, "Weight of recognising the displacement, beside the distance in pixels.", bounds=(0, None)
    )
    consistency_weight: float = setting(
        3.0,
        "Weight of finding the same places in the pair as it came and deformed, beside the distance, for which "
        "the set is right; 0 is off, and takes half the time.",
        bounds=(0, None),
    )
    again: float = setting(
        0.6,
        "Share of the batches in which the register is asked about what answers of its own have left, as it is in "
        "use; 0 is off.",
        bounds=(0, 1),
    )
    metric_pairs: int = setting(
        0, "Validation pairs that are fused whole and measured; a register fuses none.", bounds=(0, None)
    )

    def check(self) -> None:
        """Check also that the crop is whole cells of the flow."""
        super().check()
        if rest := self.crop % _DECIDED:
            raise SettingsError(
                f"crop: expected a multiple of {_DECIDED} px, got {self.crop}; take {self.crop - rest} or "
                f"{self.crop - rest + _DECIDED}"
            )


class MatchingRegisterRecipe(PairRecipe):
    """One stage on three kinds of pairs."""

    name = "matching_register"
    summary = "a register that matches infrared with visible images"
    Settings: ClassVar = MatchingRegisterTraining
    SMALL: ClassVar = MappingProxyType({"epochs": 12, "crop": 128})

    def __init__(self, settings: Any, split: Split) -> None:
        if settings.register_first:
            split = _registered(split, settings.teacher)
        super().__init__(settings, split)
        # Convolutions of bfloat16 take half the time this way, those of float32 a little less of it.
        self.network.to(memory_format=torch.channels_last)

    @classmethod
    def build_network(cls, settings: Any) -> FusionNetwork:
        """Return the network, with fresh weights."""
        return MatchingRegister(MatchingRegisterSettings())

    def make_stages(self) -> Iterator[Stage]:
        """Yield the only stage."""
        if start := self.settings.start:
            begin_with(self.network, load_network(start), f"{start} is no such register", "none, to begin anew")
        samples = tuple(self._samples(self.split.train))
        yield self.stage("match", self.settings.epochs, self._losses, pairs=samples)

    def _samples(self, pairs: tuple[Pair, ...]) -> Iterator[Pair]:
        """Yield what is sampled from: every pair at all sizes, and disguised ones in their share."""
        scales = (1.0, *self.settings.scales)
        real = [pair if scale == 1.0 else Rescaled(pair, scale) for pair in pairs for scale in scales]
        yield from real
        share = self.settings.disguised
        count = round(len(real) * share / (1.0 - share))
        for number in range(count):
            # Spread over all pairs: in turns the one image and the other.
            yield Disguised(real[number * len(real) // count], of_visible=number % 2 == 0)

    def _losses(self, batch: Batch) -> Losses:
        moving, fixed = self._noisy(batch.infrared), self._noisy(batch.visible)
        if self.settings.consistency_weight:
            moving, fixed = torch.cat([moving, self._noisy(batch.registered)]), torch.cat([fixed, fixed])
        rounds = self._rounds()
        found = self._found(moving, fixed, rounds)
        if rounds:
            moving = _moved(moving, found)
        return self._judged(self.network.look(moving, fixed), found, batch)

    def _rounds(self) -> int:
        """How often the register is asked before it is asked to learn."""
        if not self.network.training or torch.rand(()) >= self.settings.again:
            return 0
        return 1 if torch.rand(()) < _ONCE else 2

    @torch.no_grad()
    def _found(self, moving: Tensor, fixed: Tensor, rounds: int) -> Tensor:
        """Return the flow ``(B, 2, h, w)`` that so many answers come to, added as in use."""
        height, width = (side // _DECIDED for side in fixed.shape[-2:])
        found = fixed.new_zeros(len(fixed), 2, height, width)
        for _ in range(rounds):
            answer = self.network.look(_moved(moving, found), fixed)[-1].flow
            found = composed(smoothed(answer, _SIGMA), found, _DECIDED)
        return found

    def _judged(self, passes: list[Any], found: Tensor, batch: Batch) -> Losses:
        flow, inside = F.avg_pool2d(batch.flow, _DECIDED), _wholly(batch.inside, _DECIDED)
        finer_flow, finer_inside = F.avg_pool2d(batch.flow, _DESCRIBED), _wholly(batch.inside, _DESCRIBED)
        deformed, undeformed = slice(len(flow)), slice(len(flow), None)
        rest = remaining(flow, found[deformed], _DECIDED)
        finer_rest = remaining(finer_flow, _finer(found[deformed]), _DESCRIBED)
        distance = recognition = consistency = torch.zeros((), device=flow.device)
        for look in passes:
            before, whole = look.before[deformed], composed(look.flow, found, _DECIDED)
            distance = distance + endpoint_loss(whole[deformed], flow, inside)
            recognition = (
                recognition
                + displacement_loss(look.logits[deformed], (rest - before) / _DESCRIBED, inside)
                + displacement_loss(
                    look.comparison[deformed], (finer_rest - _finer(before)) / _DESCRIBED, finer_inside
                )
            )
            if self.settings.consistency_weight:
                # As it is, and as it is added when in use: what wanders from place to place is lost in smoothing.
                for field in (whole, composed(smoothed(look.flow, _SIGMA), found, _DECIDED)):
                    wanted = composed(field[undeformed], flow, _DECIDED)
                    consistency = consistency + endpoint_loss(field[deformed], wanted, inside)
        with torch.no_grad():
            error = endpoint_loss(whole[deformed], flow, inside)
            moved = endpoint_loss(torch.zeros_like(flow), flow, inside)
        weights = self.settings
        total = distance + weights.recognition_weight * recognition + weights.consistency_weight * consistency
        losses = {"total": total, "recognition": recognition, "error_px": error, "moved_px": moved}
        return losses | ({"consistency": consistency} if weights.consistency_weight else {})

    def _noisy(self, images: Tensor) -> Tensor:
        if not self.settings.noise or not self.network.training:
            return images
        draw = torch.rand(2, len(images), 1, 1, 1, device=images.device)
        deviation = self.settings.noise * draw[0] * (draw[1] < 0.4)
        return (images + deviation * torch.randn_like(images)).clamp(0, 1)

    def gives_image(self, stage: Stage) -> bool:
        """Return False: a register fuses nothing."""
        return False

    @torch.no_grad()
    def pictures(self, stage: Stage) -> dict[str, np.ndarray]:
        """Return a validation crop: infrared as given, visible; and the flow beside the true one, same colours."""
        batch = next(iter(self._validation.epoch(1)))
        self.network.eval()
        infrared, visible = (image[:1].to(self.device) for image in (batch.infrared, batch.visible))
        flows = [flow[0].permute(1, 2, 0).cpu().numpy() for flow in (self.network(infrared, visible), batch.flow)]
        largest = float(np.abs(flows[1]).max())
        images = [(255 * image[0, 0]).byte().cpu().numpy() for image in (infrared, visible)]
        return {
            "infrared, visible": np.concatenate(images, axis=1),
            "flow, true flow": np.concatenate([flow_picture(flow, largest) for flow in flows], axis=1),
        }

    @classmethod
    def notes(cls, settings: Any) -> tuple[str, ...]:
        """Say for a model card what was done."""
        s = settings
        sizes = ", ".join(f"{scale:g}" for scale in s.scales)
        seen = f"at their own size and at {sizes} of it" if sizes else "at their own size"
        return (
            "Gives the flow that takes one image onto the other, either of which may be the infrared one.",
            f"Misalignment in training: {s.simulate}. {_described_registration(s)}",
            f"Pairs are seen {seen}; {100 * s.disguised:.0f} % of the samples are one image in two guises. "
            f"Greys change at random ({s.intensity:g}), noise up to {s.noise:g}.",
            *([f"Begun with the weights of {s.start}."] if s.start else []),
            f"Loss of each pass: distance in pixels, and {s.recognition_weight:g} x the cross-entropies of the "
            "displacement, after deciding and of the comparison itself.",
            *_described_more(s),
            described_training(s, "ReCoNet's register: 0.001, 300 epochs"),
            f"An epoch is {s.pairs_per_epoch} crops.",
        )


def _registered(split: Split, teacher: str) -> Split:
    """Return the pairs, registered by a model or by the structural translation, wherever that is sure.

    It is done once and for all before training, so that no worker process does it again for every epoch.
    """
    find = partial(Registered.found, estimators=_estimators(teacher))
    # An engine may not be called by two threads at once.
    how = {"what": "registering", "unit": "pair", **({"threads": 1} if teacher else {})}
    return Split(*(tuple(in_threads(find, part, **how)) for part in (split.train, split.validation)))


def _estimators(teacher: str) -> tuple[Estimator, ...]:
    """Return who registers pairs before training, those to be asked first first.

    Raises:
        SettingsError: The teacher gives no flow.
        WeightsError: There is no such model, or its weights are damaged or foreign.
    """
    structural = StructuralEstimator()
    if not teacher:
        return (structural,)
    engine = open_engine(load_network(teacher), EngineSettings())
    return (LearnedEstimator(engine), structural)


def _described_registration(settings: MatchingRegisterTraining) -> str:
    """Say for a model card how the pairs were registered before they were deformed."""
    if not settings.register_first:
        return "Pairs are taken as their sets have registered them."
    teacher = f"by {settings.teacher}, locally too, or else " if settings.teacher else ""
    return (
        f"Pairs are first registered {teacher}by the structural translation, where that is sure; else as their "
        "set has them."
    )


def _described_more(settings: MatchingRegisterTraining) -> Iterator[str]:
    """Say for a model card what else is asked of the register."""
    if weight := settings.consistency_weight:
        yield (
            f"{weight:g} x the distance between what is found in the pair as it came and deformed, as it is and "
            "smoothed: the set's own registration has no part in it."
        )
    if share := settings.again:
        yield f"In {100 * share:.0f} % of the batches one or two of its own answers have been applied before."


def _moved(images: Tensor, flow: Tensor) -> Tensor:
    """Return images ``(B, 1, h, w)``, moved by flows of the pitch of deciding."""
    return warp(images, F.interpolate(flow, scale_factor=float(_DECIDED), mode="bilinear"), "replicate")


def _finer(flow: Tensor) -> Tensor:
    """Return flows of the pitch of deciding at that of describing."""
    return F.interpolate(flow, scale_factor=_DECIDED / _DESCRIBED, mode="bilinear")


def _wholly(inside: Tensor, pitch: int) -> Tensor:
    """1 where all pixels of a square of ``pitch`` are inside, ``(B, 1, h / pitch, w / pitch)``."""
    return (F.avg_pool2d(inside, pitch) > _ALL_OF_IT).to(inside)
