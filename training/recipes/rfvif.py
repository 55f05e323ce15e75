"""Train RFVIF: pairs cropped at two positions, so that the infrared features have to be moved.

Li et al., "Feature dynamic alignment and refinement for infrared-visible image fusion: Translation robust
fusion", Information Fusion 2023, section 3.6 and 4.1: Adam, learning rate 0.001, a tenth every 40 of 120 epochs,
batches of 8 patches of 128 pixels; 6,200 pairs of KAIST and as many of FLIR.

Open in the paper: how far apart the two positions are. Taken: whole pixels from -8 to 8 on either axis, drawn for
each crop, since the paper tests 3, 5 and 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from fusion_ros.networks import RFVIF, RFVIFSettings
from fusion_ros.settings import setting

from ..batch import Batch
from ..losses.rfvif import rfvif_loss
from ..recipe import Losses, Stage
from ..schedules import SCHEDULES
from .pair_recipe import PairRecipe
from .perceptual import PerceptualSettings
from .settings import described_training

__all__ = ["RFVIFRecipe", "RFVIFTraining"]


@dataclass(frozen=True)
class RFVIFTraining(PerceptualSettings):
    """Settings of the recipe; the paper's values where it gives one."""

    epochs: int = setting(120, "Passes over the training pairs.", bounds=(1, None))
    schedule: str = setting(
        "steps",
        "How the learning rate goes on; steps: a tenth at each third.",
        choices=SCHEDULES,
    )
    simulate: str = setting(
        "translation:8", "Misalignment given to the infrared image; the paper crops it at another position."
    )
    alignment_weight: float = setting(0.3, "Weight of the alignment term (lambda).", bounds=(0, None))
    infrared_share: float = setting(0.5, "The infrared image's share in the pixel term (alpha).", bounds=(0, 1))
    perceptual_share: float = setting(0.6, "Its share in the perceptual term (beta).", bounds=(0, 1))
    width: int = setting(64, "Channels of the features, at all levels.", bounds=(1, 512))
    extraction_stages: int = setting(2, "Stages of a multi-scale residual block.", choices=(1, 2))


class RFVIFRecipe(PairRecipe):
    """The whole network at once."""

    name = "rfvif"
    summary = "RFVIF"
    Settings = RFVIFTraining
    SMALL: ClassVar = MappingProxyType(
        {
            "epochs": 50,
            "learning_rate": 2e-3,
            "schedule": "cosine",
            "crop": 64,
            "width": 16,
            "extraction_stages": 1,
            "validate_every": 10,
            "alignment_weight": 1.0,
            "gradient_weight": 5.0,
            "structure_weight": 0.5,
            "intensity_weight": 2.0,
            "contrast_weight": 1.0,
        }
    )

    @classmethod
    def build_network(cls, settings: Any) -> RFVIF:
        """Return the network, with fresh weights."""
        return RFVIF(RFVIFSettings(width=settings.width, extraction_stages=settings.extraction_stages))

    def make_stages(self) -> Iterator[Stage]:
        """Yield the only stage."""
        self._features = self.settings.perceptual_features("imagenet", self.device)
        yield self.stage("fuse", self.settings.epochs, self._losses)

    def _losses(self, batch: Batch) -> Losses:
        s = self.settings
        parts = self.network.unroll(batch.infrared, batch.visible)
        loss = rfvif_loss(
            parts.fused,
            parts.aligned,
            batch.visible,
            batch.registered,
            self._features,
            pixel_share=s.infrared_share,
            perceptual_share=s.perceptual_share,
            alignment_weight=s.alignment_weight,
        )
        return s.with_own_terms(loss._asdict(), parts.fused, batch)

    @classmethod
    def notes(cls, settings: Any) -> tuple[str, ...]:
        """Say for a model card what was done, and where it leaves the paper."""
        s = settings
        return (
            f"Loss: equation 18, alpha {s.infrared_share:g}, beta {s.perceptual_share:g}, lambda "
            f"{s.alignment_weight:g}; misalignment in training: {s.simulate}.",
            s.describe_features("imagenet"),
            *s.describe_own_terms(),
            described_training(
                s,
                "0.001, a tenth at each third, 120 epochs of 12,400 pairs of KAIST and FLIR, 8 crops of 128 px",
            ),
            f"Features have {s.width} channels, multi-scale blocks {s.extraction_stages} stage(s); the "
            "paper gives neither number.",
        )
