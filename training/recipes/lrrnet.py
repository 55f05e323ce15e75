"""Train LRRNet: detail of the visible image, semantics of the infrared one, as features tell them apart.

Li et al., LRRNet, IEEE TPAMI 2023, sections 4.2 and 5.1, and the authors' code: Adam, learning rate 1e-5, weight
decay 0.9 (code alone), 4 epochs over 20,000 pairs of KAIST, batches of 8, images resized to 128 x 128 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import nn

from fusion_ros.networks import LRRNet, LRRNetSettings
from fusion_ros.settings import setting

from ..batch import Batch
from ..data.sampler import FITS
from ..losses.lrrnet import lrrnet_loss
from ..losses.stretch import stretched
from ..recipe import Losses, Stage
from .networks import network_inputs
from .pair_recipe import PairRecipe
from .perceptual import PerceptualSettings
from .settings import described_training

__all__ = ["LRRNetRecipe", "LRRNetTraining"]


@dataclass(frozen=True)
class LRRNetTraining(PerceptualSettings):
    """Settings of the recipe; the paper's values where it gives one."""

    epochs: int = setting(4, "Passes over the training pairs.", bounds=(1, None))
    learning_rate: float = setting(1e-5, "Adam's learning rate at the start.", bounds=(1e-8, 1.0))
    weight_decay: float = setting(
        0.9,
        "Adam's weight decay, in the gradient; the authors' code has 0.9, the paper is silent.",
        bounds=(0, None),
    )
    fit: str = setting(
        "resize",
        "How an image becomes a crop; the authors resize.",
        choices=FITS,
    )
    variant: str = setting("code", "Means as in the code, or the paper's sums.", choices=("code", "paper"))
    paper_weight: float = setting(
        1.0, "Weight of the paper's loss as a whole, on 0..255, against terms of ours.", bounds=(0, None)
    )
    deep_weight: float = setting(
        2000.0,
        "Weight of the Gram term; edge filters in the place of VGG-16 need a smaller one.",
        bounds=(0, None),
    )
    infrared_share: float = setting(3.0, "Share of the infrared features in the middle term.", bounds=(0, None))
    visible_share: float = setting(0.5, "Share of the visible features in the middle term.", bounds=(0, None))
    channels: int = setting(128, "Channels of the low-rank and of the sparse coefficients.", bounds=(1, 1024))
    blocks: int = setting(4, "LLRR blocks of each branch.", bounds=(0, 32))


class LRRNetRecipe(PairRecipe):
    """The whole network at once."""

    name = "lrrnet"
    summary = "LRRNet"
    Settings = LRRNetTraining
    SMALL: ClassVar = MappingProxyType(
        {
            "epochs": 20,
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "schedule": "cosine",
            "crop": 64,
            "batch": 4,
            "validate_every": 5,
            "metric_pairs": 4,
            "paper_weight": 2e-6,
            "deep_weight": 0.62,
            "gradient_weight": 10.0,
            "structure_weight": 0.5,
            "contrast_weight": 3.0,
            "correlation_weight": 0.3,
        }
    )

    @classmethod
    def build_network(cls, settings: Any) -> LRRNet:
        """Return the network, with fresh weights."""
        return LRRNet(LRRNetSettings(channels=settings.channels, blocks=settings.blocks))

    def make_stages(self) -> Iterator[Stage]:
        """Yield the only stage."""
        s = self.settings
        self._features = s.perceptual_features("byte", self.device)

        def adam(parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
            return torch.optim.Adam(parameters, s.learning_rate, weight_decay=s.weight_decay)

        yield replace(self.stage("fuse", s.epochs, self._losses), optimiser=adam)

    def _losses(self, batch: Batch) -> Losses:
        s = self.settings
        output = self.network(*network_inputs(self.network, batch.registered, batch.visible))
        loss = lrrnet_loss(
            output,
            batch.registered,
            batch.visible,
            self._features,
            variant=s.variant,
            deep_weight=s.deep_weight,
            infrared_share=s.infrared_share,
            visible_share=s.visible_share,
        )._asdict()
        return s.with_own_terms(loss | {"total": s.paper_weight * loss["total"]}, stretched(output), batch)

    @classmethod
    def notes(cls, settings: Any) -> tuple[str, ...]:
        """Say for a model card what was done, and where it leaves the paper."""
        s = settings
        return (
            f"Loss: pixel, shallow, middle and deep terms ({'means' if s.variant == 'code' else 'sums'}), gamma_4 "
            f"{s.deep_weight:g}, w_ir {s.infrared_share:g}, w_vi {s.visible_share:g}, together times "
            f"{s.paper_weight:g}. {s.describe_features('byte')}",
            *s.describe_own_terms(),
            described_training(s, "1e-5, 4 epochs of 20,000 pairs of KAIST, 8 images resized to 128 px"),
            f"Images become crops by {s.fit}; weight decay {s.weight_decay:g} (the authors' code: 0.9).",
        )
