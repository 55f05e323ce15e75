"""Terms of ours that may be added to a paper's loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from fusion_ros.settings import setting

from ..batch import Batch
from ..losses.detail import contrast_loss, correlation_loss, gradient_loss, intensity_loss
from ..losses.ssim import ssim
from ..recipe import Losses
from .settings import TrainingSettings

__all__ = ["OwnTerms"]


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
