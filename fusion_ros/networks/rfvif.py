"""RFVIF: fusion of images that a translation separates, without registering them first.

Li et al., "Feature dynamic alignment and refinement for infrared-visible image fusion: Translation
robust fusion", Information Fusion 2023. The visible image is the reference; the infrared image's features are
moved onto it by kernels computed from both. No code and no weights were released: this network
follows the paper's text, and every choice that the text leaves open is named where it is made ("Open in
the paper: ...; taken: ...").

                 CMFEM                       FDAM              CMF         MGFRM             PFFM
    infrared --> level 1 (1/2) --> align --> F_align --+--> mask fusion --+       +--> refine --+
                    | modulate                         |                  |       |             |
    visible ---> level 1 ------------------------------+                  |       |             |
                    |                                                     |       |             |
                 level 2 (1/4) --> the same  ---------------------------> mix ----+--> refine --+--> fuse
                    |                                                     |       |             |     |
                 level 3 (1/8) --> the same  -----------------------------+       +--> refine --+  residual
                                                                                                   blocks
    Modules: rfvif_extraction (CMFEM), rfvif_alignment (FDAM, CMF), rfvif_refinement                  |
    (MGFRM, PFFM, reconstruction).                                                              fused image
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from ..settings import Settings, setting
from .base import FeatureMap, FusionNetwork, NetworkSpec
from .rfvif_alignment import FDAM, Aligned, MaskFusion
from .rfvif_extraction import CMFEM
from .rfvif_refinement import PFFM, LevelMixing, LocalFeatureRefinement, Reconstruction

__all__ = ["RFVIF", "RFVIFParts", "RFVIFSettings"]

LEVELS = (1, 2, 3)
_MULTIPLE = 2 ** LEVELS[-1]


@dataclass(frozen=True)
class RFVIFSettings(Settings):
    """How RFVIF is built."""

    # Open in the paper: the number of channels. Taken: 64, usual among networks of this kind. The cost goes with
    # its square.
    width: int = setting(64, "Channels of the features, at all levels.", bounds=(1, 512))
    alignment_blocks: int = setting(
        2, "Feature alignment blocks in a chain; the paper tried 1 to 3 and takes 2.", bounds=(1, 8)
    )
    extraction_stages: int = setting(
        2, "Stages of a multi-scale residual block; one costs a fifth of two.", choices=(1, 2)
    )
    neighbourhood: int = setting(
        3,
        "Side of the neighbourhood that a feature is rebuilt from, in its pixels.",
        choices=(1, 3, 5, 7),
    )
    temperature: float = setting(
        1.0, "Divides the cosines before the softmax; a lower one tells neighbours apart.", bounds=(0.001, 10.0)
    )


class RFVIFParts(NamedTuple):
    """What RFVIF gives on the way.

    Those at a level, 1 to 3, have the image's size divided by 2, 4 and 8, rounded up.
    """

    fused: Tensor
    """The fused image, ``(B, 1, H, W)`` in (0, 1)."""
    aligned: tuple[Tensor, ...]
    """The infrared image as it is after alignment, ``(B, 1, H / 2**level, W / 2**level)`` at each level. The
    alignment loss compares it with :meth:`RFVIF.scaled` of the registered infrared image."""
    aligned_features: tuple[Tensor, ...]
    """The aligned infrared features, ``(B, width, H / 2**level, W / 2**level)`` at each level."""
    fused_features: tuple[Tensor, ...]
    """The fused and refined features, likewise."""


class RFVIF(FusionNetwork):
    """RFVIF: 15,585,972 parameters with the default settings.

    Open in the paper: sizes that are no multiples of 8. Taken: the images are continued to the right and below
    by their reflection, and what comes of that is cropped.
    """

    spec = NetworkSpec(
        name="rfvif",
        title="RFVIF",
        source="Li et al., Feature dynamic alignment and refinement, Information Fusion 2023, section 3",
        aligns=True,
    )
    Settings = RFVIFSettings

    def __init__(self, settings: RFVIFSettings | None = None) -> None:
        super().__init__(settings)
        s = self.settings
        self.extract = CMFEM(s.width, s.extraction_stages)
        self.align = nn.ModuleList(FDAM(s.width, s.alignment_blocks) for _ in LEVELS)
        self.fuse = nn.ModuleList(MaskFusion(s.width) for _ in LEVELS)
        self.mix = LevelMixing(s.width)
        self.refine = nn.ModuleList(
            LocalFeatureRefinement(s.width, s.neighbourhood, s.temperature) for _ in LEVELS
        )
        self.collect = PFFM(s.width)
        self.reconstruct = Reconstruction(s.width)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Fuse two single-channel images between which lies a translation of a few pixels, or none.

        Args:
            infrared: ``(B, 1, H, W)`` in [0, 1], at least 16x16 pixels.
            visible: ``(B, 1, H, W)`` in [0, 1], luminance.

        Returns:
            ``(B, 1, H, W)`` in (0, 1), on the visible image's grid.
        """
        _, refined = self._pyramids(_filled(infrared), _filled(visible))
        return _cropped(self.reconstruct(self.collect(*refined)), visible, 1)

    def unroll(self, infrared: Tensor, visible: Tensor) -> RFVIFParts:
        """Return the fused image and what led to it; arguments as for :meth:`forward`."""
        aligned, refined = self._pyramids(_filled(infrared), _filled(visible))
        return RFVIFParts(
            fused=_cropped(self.reconstruct(self.collect(*refined)), visible, 1),
            aligned=_levels([level.image for level in aligned], visible),
            aligned_features=_levels([level.features for level in aligned], visible),
            fused_features=_levels(refined, visible),
        )

    @staticmethod
    def scaled(image: Tensor) -> tuple[Tensor, ...]:
        """Return an image ``(B, 1, H, W)`` at the scales and sizes of :attr:`RFVIFParts.aligned`.

        Bilinear scaling by 0.5, once, twice and three times. Open in the paper: whether each scale is made of the
        full image or of the one before. Taken: the one before, which leaves no pixel out.
        """
        return _levels(_scales(_filled(image)), image)

    def feature_maps(self) -> tuple[FeatureMap, ...]:
        """Describe the aligned infrared features and the fused ones, at three levels each."""
        return tuple(
            FeatureMap(f"{name}_{level}", self.settings.width, 2**level, f"{words}, level {level}.")
            for name, words in (("aligned", "Infrared features on the visible grid"), ("fused", "Fused features"))
            for level in LEVELS
        )

    def features(self, infrared: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Return every map of :meth:`feature_maps`, ``(B, width, H / stride, W / stride)``, rounded up."""
        aligned, refined = self._pyramids(_filled(infrared), _filled(visible))
        moved = _levels([level.features for level in aligned], visible)
        fused = _levels(refined, visible)
        maps = {f"aligned_{level}": features for level, features in zip(LEVELS, moved, strict=True)}
        return maps | {f"fused_{level}": features for level, features in zip(LEVELS, fused, strict=True)}

    def _pyramids(self, infrared: Tensor, visible: Tensor) -> tuple[list[Aligned], list[Tensor]]:
        """Return the aligned and the refined levels of images whose sizes are multiples of 8."""
        extracted = self.extract(infrared, visible)
        aligned = [align(*level) for align, level in zip(self.align, extracted, strict=True)]
        fused = [
            fuse(moved.features, level.visible)
            for fuse, moved, level in zip(self.fuse, aligned, extracted, strict=True)
        ]
        images = zip(_scales(infrared), _scales(visible), strict=True)
        refined = [
            refine(features, *pair)
            for refine, features, pair in zip(self.refine, self.mix(fused), images, strict=True)
        ]
        return aligned, refined


def _filled(image: Tensor) -> Tensor:
    """Return the image, reflected to the right and below up to multiples of 8.

    It is reflected as far as could be needed and cut where it is enough, in whole multiples of 8: from that an
    exporter can tell, for all sizes at once, that the levels fit each other.
    """
    right, below = _missing(image)
    spare = _MULTIPLE - 1
    reflected = F.pad(image, (0, spare, 0, spare), mode="reflect")
    return F.pad(reflected, (0, right - spare, 0, below - spare))


def _missing(image: Tensor) -> tuple[int, int]:
    """Return how many columns and rows the image lacks to multiples of 8."""
    height, width = image.shape[-2], image.shape[-1]
    spare = _MULTIPLE - 1
    right = (width + spare) // _MULTIPLE * _MULTIPLE - width
    below = (height + spare) // _MULTIPLE * _MULTIPLE - height
    return right, below


def _scales(image: Tensor) -> list[Tensor]:
    # To halve a map by bilinear interpolation is to average each four pixels.
    return [F.avg_pool2d(image, 2**level) for level in LEVELS]


def _levels(maps: list[Tensor], like: Tensor) -> tuple[Tensor, ...]:
    return tuple(_cropped(features, like, 2**level) for features, level in zip(maps, LEVELS, strict=True))


def _cropped(maps: Tensor, like: Tensor, stride: int) -> Tensor:
    """Return the part of a map of this stride that covers the image ``like``.

    What was filled in is taken off by padding with negative amounts: a slice that sometimes cuts
    nothing off cannot be exported for all sizes at once.
    """
    right, below = _missing(like)
    return F.pad(maps, (0, -(right // stride), 0, -(below // stride)))
