"""DIDFuse: an auto-encoder that splits an image into a base and a detail map, fused map by map.

Zhao et al., "DIDFuse: Deep Image Decomposition for Infrared and Visible Image Fusion", IJCAI 2020, and
its journal version "When Image Decomposition Meets Deep Learning: A Novel Infrared and Visible Image
Fusion Method", section III, figure 1 and table I. The released network is the conference's: conv6 and conv7
take 128 channels where the journal's table says 64, because each is also given a map of the encoder.

    image --> conv1 --f1--> conv2 --f2--+--> conv3 --> base ----+      one encoder for both images
                                        +--> conv4 --> detail --+
                                                                |
    f1, f2, base, detail of both images --> fusion rule --> one of each
                                                                |
    [base, detail] --> conv5 --[., f2]--> conv6 --[., f1]--> conv7 --> fused image

Training knows no fusion: it asks :meth:`DIDFuse.reconstruct` to give every image back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import SettingsError
from ..settings import Settings, setting
from .base import FeatureMap, FusionNetwork, NetworkSpec
from .didfuse_journal import FusionLayer, SaliencyAttention, l1_attention, weighted_average
from .strategies import Strategy

__all__ = ["DIDFuse", "DIDFuseSettings", "Encoded"]

_WIDTH = 64
_CONFERENCE_RULES: dict[str, Strategy] = {
    "sum": torch.add,
    "average": weighted_average,
    "l1": l1_attention,
}
_JOURNAL_RULES = ("l1_attention", "saliency_attention", "weighted_average")


@dataclass(frozen=True)
class DIDFuseSettings(Settings):
    """How the maps of the two images are fused; the network itself has no choices."""

    fusion: str = setting(
        "sum",
        "Rule that fuses the feature maps: the conference's sum (the released results), average or l1, "
        "or a spatial attention of the journal.",
        choices=(*_CONFERENCE_RULES, *_JOURNAL_RULES),
    )
    channel_attention: bool = setting(
        False, "Average the journal's spatial attention with its channel attention (journal rules only)."
    )
    skips: str = setting(
        "same",
        "Rule for the maps f1 and f2 that bypass the decomposition: the one of base and detail, or their mean.",
        choices=("same", "average"),
    )
    guided_radius: int = setting(
        7, "Radius of the guided filter (saliency_attention only).", unit="px", bounds=(1, 255)
    )
    guided_epsilon: float = setting(
        0.01,
        "Variance below which the guided filter takes its guide, in [0, 1], for flat (saliency_attention only).",
        bounds=(1e-6, 1.0),
    )

    def check(self) -> None:
        """Refuse channel attention where no rule of the journal is there to average it with."""
        if self.channel_attention and self.fusion in _CONFERENCE_RULES:
            raise SettingsError(
                f"channel_attention: expected false with fusion {self.fusion!r}, got true; it belongs to the "
                f"journal's rules: set fusion to one of {', '.join(_JOURNAL_RULES)}, or channel_attention to false"
            )


class Encoded(NamedTuple):
    """What the encoder makes of an image, and the decoder an image of; each ``(B, 64, H, W)``."""

    f1: Tensor
    f2: Tensor
    base: Tensor
    detail: Tensor


def _layer(channels: int, width: int, activation: nn.Module, padding: str = "zeros") -> nn.Sequential:
    conv = nn.Conv2d(channels, width, 3, padding=1, padding_mode=padding)
    return nn.Sequential(conv, nn.BatchNorm2d(width), activation)


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _layer(1, _WIDTH, nn.PReLU(), padding="reflect")
        self.conv2 = _layer(_WIDTH, _WIDTH, nn.PReLU())
        self.conv3 = _layer(_WIDTH, _WIDTH, nn.Tanh())
        self.conv4 = _layer(_WIDTH, _WIDTH, nn.Tanh())

    def forward(self, image: Tensor) -> Encoded:
        f1 = self.conv1(image)
        f2 = self.conv2(f1)
        return Encoded(f1, f2, self.conv3(f2), self.conv4(f2))


class _Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv5 = _layer(2 * _WIDTH, _WIDTH, nn.PReLU())
        self.conv6 = _layer(2 * _WIDTH, _WIDTH, nn.PReLU())
        self.conv7 = _layer(2 * _WIDTH, 1, nn.Sigmoid(), padding="reflect")

    def forward(self, maps: Encoded) -> Tensor:
        x = self.conv5(torch.cat([maps.base, maps.detail], dim=1))
        x = self.conv6(torch.cat([x, maps.f2], dim=1))
        return self.conv7(torch.cat([x, maps.f1], dim=1))


class DIDFuse(FusionNetwork):
    """The auto-encoder with a fusion rule in its middle: 260,935 parameters."""

    spec = NetworkSpec(
        name="didfuse",
        title="DIDFuse",
        source="Zhao et al., DIDFuse, IJCAI 2020; journal version, section III",
    )
    Settings = DIDFuseSettings
    # The authors' first and last layer begin with their reflection padding, a module that counts.
    UPSTREAM_PREFIXES: ClassVar[dict[str, str]] = {
        "encoder.conv1.0": "encoder.cov1.cov1.1",
        "encoder.conv1.1": "encoder.cov1.cov1.2",
        "encoder.conv1.2": "encoder.cov1.cov1.3",
        "encoder.conv2": "encoder.cov2.cov2",
        "encoder.conv3": "encoder.cov3.cov3",
        "encoder.conv4": "encoder.cov4.cov4",
        "decoder.conv5": "decoder.cov5.cov5",
        "decoder.conv6": "decoder.cov6.cov6",
        "decoder.conv7.0": "decoder.cov7.cov7.1",
        "decoder.conv7.1": "decoder.cov7.cov7.2",
    }

    def __init__(self, settings: DIDFuseSettings | None = None) -> None:
        super().__init__(settings)
        self.encoder = _Encoder()
        self.decoder = _Decoder()
        self.rule = _fusion_rule(self.settings)
        self.skip_rule = self.rule if self.settings.skips == "same" else weighted_average

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Fuse two registered single-channel images.

        Args:
            infrared: ``(B, 1, H, W)`` in [0, 1].
            visible: ``(B, 1, H, W)`` in [0, 1], luminance, on the same pixel grid.

        Returns:
            ``(B, 1, H, W)`` in (0, 1).
        """
        return self.decode(self.fuse(self.encode(infrared), self.encode(visible)))

    def encode(self, image: Tensor) -> Encoded:
        """Decompose a ``(B, 1, H, W)`` image in [0, 1]; base and detail are in (-1, 1)."""
        return self.encoder(image)

    def fuse(self, infrared: Encoded, visible: Encoded) -> Encoded:
        """Fuse the maps of two images by the rule of the settings."""
        return Encoded(
            self.skip_rule(infrared.f1, visible.f1),
            self.skip_rule(infrared.f2, visible.f2),
            self.rule(infrared.base, visible.base),
            self.rule(infrared.detail, visible.detail),
        )

    def decode(self, maps: Encoded) -> Tensor:
        """Return the ``(B, 1, H, W)`` image in (0, 1) that these maps stand for."""
        return self.decoder(maps)

    def reconstruct(self, image: Tensor) -> Tensor:
        """Give back one ``(B, 1, H, W)`` image in [0, 1] by auto-encoding alone, without fusion."""
        return self.decode(self.encode(image))

    def fused_by(self, strategy: Strategy, infrared: Tensor, visible: Tensor) -> Tensor:
        """Fuse two images as :meth:`forward` does, by another rule than that of the settings.

        Args:
            strategy: Fuses two ``(B, 64, H, W)`` maps into one; called for f1, f2, base and detail.
            infrared: As for :meth:`forward`.
            visible: As for :meth:`forward`.
        """
        pairs = zip(self.encode(infrared), self.encode(visible), strict=True)
        return self.decode(Encoded(*[strategy(own, other) for own, other in pairs]))

    def feature_maps(self) -> tuple[FeatureMap, ...]:
        """Describe base and detail of both images and of the fused one."""
        owners = {"_infrared": "the infrared image", "_visible": "the visible image", "": "the fused image"}
        parts = {"base": "common to both sources", "detail": "that sets the sources apart"}
        return tuple(
            FeatureMap(f"{part}{suffix}", _WIDTH, 1, f"The part of {owner} {meaning}.")
            for suffix, owner in owners.items()
            for part, meaning in parts.items()
        )

    def features(self, infrared: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Return base and detail of both images and of the fused one."""
        of_infrared, of_visible = self.encode(infrared), self.encode(visible)
        fused = self.fuse(of_infrared, of_visible)
        return {
            "base_infrared": of_infrared.base,
            "detail_infrared": of_infrared.detail,
            "base_visible": of_visible.base,
            "detail_visible": of_visible.detail,
            "base": fused.base,
            "detail": fused.detail,
        }


def _fusion_rule(settings: DIDFuseSettings) -> Strategy:
    if settings.fusion in _CONFERENCE_RULES:
        return _CONFERENCE_RULES[settings.fusion]
    spatial: dict[str, Strategy] = {
        "l1_attention": l1_attention,
        "saliency_attention": SaliencyAttention(settings.guided_radius, settings.guided_epsilon),
        "weighted_average": weighted_average,
    }
    return FusionLayer(spatial[settings.fusion], settings.channel_attention)
