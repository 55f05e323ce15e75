"""Train DIDFuse: an auto-encoder that gives every image back, with alike base maps and unlike detail maps.

Zhao et al., DIDFuse, IJCAI 2020, whose code was released, and its journal version: Adam, learning rate 0.001, a
tenth after each third of 120 epochs, batches of 24, 128 pixels, 180 pairs. Training knows no fusion; a term of
ours that looks at the fused image may be added.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from fusion_ros.networks import DIDFuse, DIDFuseSettings
from fusion_ros.settings import setting

from ..batch import Batch
from ..data.sampler import FITS
from ..losses.didfuse import didfuse_loss
from ..recipe import Losses, Stage
from ..schedules import SCHEDULES
from .own_terms import OwnTerms
from .pair_recipe import PairRecipe
from .settings import described_training

__all__ = ["DIDFuseRecipe", "DIDFuseTraining"]


@dataclass(frozen=True)
class DIDFuseTraining(OwnTerms):
    """Settings of the recipe; the paper's values where it gives one."""

    epochs: int = setting(120, "Passes over the training pairs.", bounds=(1, None))
    batch: int = setting(24, "Crops in a batch, of all processes together.", bounds=(1, None))
    crop: int = setting(128, "Side of the square training crops.", unit="px", bounds=(16, None))
    fit: str = setting(
        "crop",
        "How an image becomes a crop; the authors' code takes the centre, their text says resizing.",
        choices=FITS,
    )
    schedule: str = setting(
        "steps",
        "How the learning rate goes on; steps: a tenth at each third.",
        choices=SCHEDULES,
    )
    variant: str = setting(
        "code", "Whose loss: that of the conference version's code, or the journal's.", choices=("code", "paper")
    )
    fusion: str = setting(
        "sum",
        "Rule by which the published network fuses, and the terms of ours look at.",
        choices=("sum", "average", "l1", "l1_attention", "saliency_attention", "weighted_average"),
    )


class DIDFuseRecipe(PairRecipe):
    """Both images are encoded and decoded by themselves, in one network."""

    name = "didfuse"
    summary = "DIDFuse's decomposing auto-encoder"
    Settings = DIDFuseTraining
    SMALL: ClassVar = MappingProxyType(
        {
            "epochs": 20,
            "batch": 8,
            "crop": 64,
            "schedule": "cosine",
            "validate_every": 5,
            "gradient_weight": 10.0,
            "structure_weight": 0.5,
            "contrast_weight": 3.0,
        }
    )

    @classmethod
    def build_network(cls, settings: Any) -> DIDFuse:
        """Return the network, with fresh weights."""
        return DIDFuse(DIDFuseSettings(fusion=settings.fusion))

    def make_stages(self) -> Iterator[Stage]:
        """Yield the only stage."""
        yield self.stage("decompose", self.settings.epochs, self._losses)

    def _losses(self, batch: Batch) -> Losses:
        network: Any = self.network
        encoded = network.encode(batch.registered), network.encode(batch.visible)
        decoded = network.decode(encoded[0]), network.decode(encoded[1])
        loss = didfuse_loss(batch.registered, batch.visible, encoded, decoded, variant=self.settings.variant)
        if not self.settings.describe_own_terms():
            return loss._asdict()
        fused = network.decode(network.fuse(*encoded))
        return self.settings.with_own_terms(loss._asdict(), fused, batch)

    @classmethod
    def notes(cls, settings: Any) -> tuple[str, ...]:
        """Say for a model card what was done, and where it leaves the paper."""
        s = settings
        whose = "the conference version's code" if s.variant == "code" else "the journal version"
        return (
            f"Loss: the terms of {whose}. Deployed with the fusion rule {s.fusion!r}.",
            *s.describe_own_terms(),
            described_training(s, "0.001, a tenth at each third, 120 epochs, 24 crops of 128 px"),
        )
