"""Train RFN-Nest in two stages: the auto-encoder, then the fusion networks between its fixed halves.

Li et al., RFN-Nest, Information Fusion 73, 2021, section 3.2, and the authors' code: Adam, learning rate 1e-4, 2
epochs, batches of 4, grey images of 256 x 256 pixels (nearest-neighbour resizing); first 80,000 images of MS-COCO,
then 80,000 pairs of KAIST. Here the auto-encoder learns from the pairs as well, from either image of each.
Section 4.5's ablation, all at once with the second stage's loss, is a setting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch

from fusion_ros.networks import RFNNest
from fusion_ros.settings import setting

from ..batch import Batch
from ..data.sampler import FITS
from ..losses.rfn_nest import auto_encoder_loss, rfn_loss
from ..losses.stretch import stretched
from ..recipe import Losses, Stage
from .networks import network_inputs
from .own_terms import OwnTerms
from .pair_recipe import PairRecipe

__all__ = ["RFNNestRecipe", "RFNNestTraining"]


@dataclass(frozen=True)
class RFNNestTraining(OwnTerms):
    """Settings of the recipe; the paper's values where it gives one."""

    strategy: str = setting(
        "two_stage", "Auto-encoder, then fusion networks; or all at once.", choices=("two_stage", "one_stage")
    )
    auto_encoder_epochs: int = setting(2, "Passes over the pairs for the auto-encoder.", bounds=(1, None))
    epochs: int = setting(2, "Passes over the pairs for the fusion networks.", bounds=(1, None))
    learning_rate: float = setting(1e-4, "Adam's learning rate at the start of a stage.", bounds=(1e-8, 1.0))
    batch: int = setting(4, "Crops in a batch, of all processes together.", bounds=(1, None))
    crop: int = setting(256, "Side of the square training crops.", unit="px", bounds=(16, None))
    fit: str = setting(
        "resize_nearest",
        "How an image becomes a crop; the authors resize.",
        choices=FITS,
    )
    variant: str = setting("code", "Whose losses: the authors' code or the paper's.", choices=("code", "paper"))
    similarity: str = setting(
        "own",
        "Structural similarity in the losses: the variant's own (multi-scale in the code, from 176 px a side "
        "on), the standard multi-scale one, or the plain one.",
        choices=("own", "ms_ssim", "ssim"),
    )
    detail_weight: float = setting(700.0, "Weight of likeness to the visible image (alpha).", bounds=(0, None))
    infrared_share: float = setting(
        6.0, "Share of the infrared features in the fused ones (w_ir).", bounds=(0, None)
    )
    visible_share: float = setting(
        3.0, "Share of the visible features in the fused ones (w_vi).", bounds=(0, None)
    )


class RFNNestRecipe(PairRecipe):
    """Auto-encoder and fusion networks."""

    name = "rfn_nest"
    summary = "RFN-Nest's auto-encoder and its fusion networks"
    Settings = RFNNestTraining
    SMALL: ClassVar = MappingProxyType(
        {
            "auto_encoder_epochs": 6,
            "epochs": 4,
            "learning_rate": 1e-3,
            "schedule": "cosine",
            "crop": 64,
            "fit": "crop",
            "similarity": "ssim",
            "validate_every": 3,
        }
    )

    @classmethod
    def build_network(cls, settings: Any) -> RFNNest:
        """Return the network, with fresh weights."""
        return RFNNest()

    def make_stages(self) -> Iterator[Stage]:
        """Yield the auto-encoder's stage and the fusion networks', or the only one of the ablation."""
        s, network = self.settings, self.network
        if s.strategy == "one_stage":
            yield self.stage("one_stage", s.epochs, self._fusion_losses)
            return
        halves = (network.lift, network.encoder, network.decoder, network.output)
        yield self.stage("auto_encoder", s.auto_encoder_epochs, self._auto_encoder_losses, trained=halves)
        yield self.stage("fusion", s.epochs, self._fusion_losses, trained=(network.rfns,))

    def _auto_encoder_losses(self, batch: Batch) -> Losses:
        images = torch.cat(network_inputs(self.network, batch.registered, batch.visible))
        output = self.network.reconstruct(images)
        s = self.settings
        return auto_encoder_loss(output, images, variant=s.variant, similarity=self._similarity)._asdict()

    def _fusion_losses(self, batch: Batch) -> Losses:
        s, network = self.settings, self.network
        infrared, visible = network_inputs(network, batch.registered, batch.visible)
        encoded = network.encode(infrared), network.encode(visible)
        fused = network.fuse(*encoded)
        output = network.decode(fused)
        loss = rfn_loss(
            output,
            visible,
            fused,
            *encoded,
            variant=s.variant,
            detail_weight=s.detail_weight,
            infrared_share=s.infrared_share,
            visible_share=s.visible_share,
            similarity=self._similarity,
        )
        return s.with_own_terms(loss._asdict(), stretched(output), batch)

    @property
    def _similarity(self) -> Any:
        return None if self.settings.similarity == "own" else self.settings.similarity

    @classmethod
    def notes(cls, settings: Any) -> tuple[str, ...]:
        """Say for a model card what was done, and where it leaves the paper."""
        s = settings
        own = {"code": "the authors' multi-scale index", "paper": "the plain index"}[s.variant]
        index = {"own": own, "ms_ssim": "the standard multi-scale index", "ssim": "the plain index"}[s.similarity]
        whose = "the authors' code" if s.variant == "code" else "the paper"
        two = (
            f"Two stages: {s.auto_encoder_epochs} epochs of the auto-encoder on either image of each pair (paper: "
            f"80,000 images of MS-COCO), then {s.epochs} epochs of the fusion networks with both halves fixed."
        )
        return (
            two
            if s.strategy == "two_stage"
            else f"One stage, the paper's ablation: {s.epochs} epochs of all at once.",
            f"Losses of {whose}, with {index} of structural similarity; alpha {s.detail_weight:g}, w_ir "
            f"{s.infrared_share:g}, w_vi {s.visible_share:g}.",
            *s.describe_own_terms(),
            f"Adam {s.learning_rate:g}, {s.schedule} schedule, batches of {s.batch} images of {s.crop} px (paper: "
            "1e-4, 2 epochs of 80,000 pairs of KAIST, 4 images of 256 px).",
        )
