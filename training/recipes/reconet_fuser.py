"""Train ReCoNet's fuser on registered pairs.

Huang et al., ECCV 2022, sections 2.4 and 3.1: Adam, learning rate 0.001, 300 epochs, gamma 0.28.
What the paper leaves open, or what we do otherwise, is a setting with its reason in the help text.
The fuser is trained by itself, on pairs that are already registered; the paper trains it together
with its registration network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fusion_ros.errors import SettingsError
from fusion_ros.metrics import evaluate, select_columns
from fusion_ros.networks import ReCoNetFuser, ReCoNetFuserSettings
from fusion_ros.settings import Settings, setting

from ..data.crops import CropSampler, as_tensor
from ..data.pairs import Pair, Split
from ..losses.reconet import FusionLoss, fusion_loss

__all__ = ["ReCoNetFuserRecipe", "ReCoNetFuserTraining", "describe", "fuse_luma"]

COLUMNS = select_columns("EN,SD,CC")
"""The paper's metrics, which each validation is judged by."""


@dataclass(frozen=True)
class ReCoNetFuserRecipe(Settings):
    """Settings of the recipe; the paper's values where the paper gives one."""

    epochs: int = setting(300, "Passes over the training pairs.", bounds=(1, None))
    learning_rate: float = setting(1e-3, "Adam's learning rate at the start.", bounds=(1e-8, 1.0))
    schedule: str = setting(
        "cosine",
        "How the learning rate goes on; the paper names no schedule, cosine ends at zero.",
        choices=("cosine", "constant"),
    )
    gamma: float = setting(0.28, "Share of structure against pixel intensity in the loss.", bounds=(0, 1))
    brightness: float = setting(
        1.0, "Pull of the brighter source in the pixel term; above 1 is ours.", bounds=(0, 2)
    )
    contrast_weight: float = setting(0.0, "Weight of the contrast term, which is ours.", bounds=(0, None))
    correlation_weight: float = setting(0.0, "Weight of the correlation term, which is ours.", bounds=(0, None))
    plain_epochs: int = setting(
        10, "Epochs before the contrast and correlation terms are added to the others.", bounds=(0, None)
    )
    crop: int = setting(96, "Side of the square training crops.", unit="px", bounds=(16, None))
    batch: int = setting(4, "Crops in a batch.", bounds=(1, None))
    width: int = setting(64, "Channels of each dilated convolution; published weights have 64.", bounds=(1, None))
    recurrences: int = setting(3, "How often the module is run; published weights use 3.", bounds=(1, None))
    statistics_epochs: int = setting(
        3,
        "Epochs in which BatchNorm uses the batch's statistics; after them its running statistics are fixed, so "
        "that training computes what deployment will (all recurrences share one set).",
        bounds=(1, None),
    )
    statistics_momentum: float = setting(
        0.02, "How fast BatchNorm's running statistics follow the batches.", bounds=(1e-4, 1.0)
    )
    validate_every: int = setting(
        1, "Epochs between two validations; the last epoch is always one.", bounds=(1, None)
    )
    validation_share: float = setting(
        0.1, "Share of the pairs to validate on where no validation list is given.", bounds=(0.01, 0.9)
    )
    seed: int = setting(0, "Seed of the initial weights, order, crops and flips.", bounds=(0, None))
    device: str = setting("cpu", "Where to train.", choices=("cpu", "cuda"))
    threads: int = setting(0, "CPU threads; 0 leaves the choice to torch.", bounds=(0, None))
    keep_in_memory: bool = setting(
        True, "Read all images once at the start; turn off for sets larger than memory."
    )


class ReCoNetFuserTraining:
    """The recipe as the training loop sees it (:class:`training.loop.Recipe`)."""

    def __init__(self, settings: ReCoNetFuserRecipe, split: Split) -> None:
        if settings.device == "cuda" and not torch.cuda.is_available():
            raise SettingsError("device: expected a CUDA device, found none; use --device cpu")
        if settings.threads:
            torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.validation = split.validation
        # Channels-last is half as fast again on a CPU for this network, with the same result.
        network = ReCoNetFuser(ReCoNetFuserSettings(settings.width, settings.recurrences))
        self.network: nn.Module = network.to(settings.device, memory_format=torch.channels_last)
        for norm in self._norms():
            norm.momentum = settings.statistics_momentum
        self.optimiser = torch.optim.Adam(self.network.parameters(), settings.learning_rate)
        self._sampler = CropSampler(
            split.train,
            crop=settings.crop,
            batch=settings.batch,
            seed=settings.seed,
            keep_in_memory=settings.keep_in_memory,
        )
        for pair in split.validation:
            pair.read()  # an unusable image is named now, not after the first epoch
        self._plain = False
        self.epochs = settings.epochs
        self.steps_per_epoch = len(self._sampler)

    def prepare(self, epoch: int) -> None:
        """Train mode; after ``statistics_epochs`` with BatchNorm's statistics fixed."""
        self._plain = epoch <= self.settings.plain_epochs
        self.network.train()
        if epoch > self.settings.statistics_epochs:
            for norm in self._norms():
                norm.eval()

    def learning_rate(self, progress: float) -> float:
        """Return the rate at ``progress`` in [0, 1) of the run, by the chosen schedule."""
        share = (1 + math.cos(math.pi * progress)) / 2 if self.settings.schedule == "cosine" else 1.0
        return self.settings.learning_rate * share

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield infrared and visible crops ``(B, 1, crop, crop)``."""
        for infrared, visible in self._sampler.epoch(epoch):
            yield infrared.to(self.settings.device), visible.to(self.settings.device)

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return the fusion loss of a batch and its parts."""
        return self._loss(self.network(*batch), *batch, plain=self._plain)._asdict()

    def validate(self, epoch: int) -> dict[str, float]:
        """Return loss, EN, SD and CC as means over the whole validation images, in inference mode."""
        if epoch % self.settings.validate_every and epoch != self.epochs:
            return {}
        self.network.eval()
        rows = [self._validate_pair(pair) for pair in self.validation]
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    @torch.no_grad()
    def _validate_pair(self, pair: Pair) -> dict[str, float]:
        infrared, visible = pair.read()
        x, y = (as_tensor(image).to(self.settings.device) for image in (infrared, visible))
        fused = self.network(x, y)
        metrics = evaluate(infrared, visible, _to_luma(fused), COLUMNS)
        return {"loss": float(self._loss(fused, x, y).total)} | metrics

    def _loss(self, fused: Tensor, infrared: Tensor, visible: Tensor, *, plain: bool = False) -> FusionLoss:
        return fusion_loss(
            fused,
            infrared,
            visible,
            gamma=self.settings.gamma,
            brightness=self.settings.brightness,
            contrast_weight=0.0 if plain else self.settings.contrast_weight,
            correlation_weight=0.0 if plain else self.settings.correlation_weight,
        )

    def _norms(self) -> list[nn.BatchNorm2d]:
        return [module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)]


def describe(settings: ReCoNetFuserRecipe) -> tuple[str, ...]:
    """Say for a model card what was done, and where it leaves the paper."""
    s = settings
    return (
        "Fuses registered single-channel images in [0, 1], infrared first, visible luma second; the output is "
        "clamped to [0, 1], never stretched.",
        f"Loss: the paper's equations 3 to 5, gamma {s.gamma:g}, all reductions means, SSIM window 11, sigma 1.5.",
        *_own_terms(s),
        f"Adam {s.learning_rate:g}, {s.schedule} schedule, {s.epochs} epochs (the paper: 300, no schedule named), "
        f"batches of {s.batch} joint random crops of {s.crop} px with horizontal flips.",
        f"BatchNorm uses batch statistics for {s.statistics_epochs} epochs, momentum {s.statistics_momentum:g}; "
        "after them its running statistics are fixed, so that training computes what deployment computes.",
        "The fuser was trained by itself on registered pairs; the paper trains it jointly with its registration "
        "network. The weights are those of the epoch with the lowest validation loss.",
    )


def _own_terms(s: ReCoNetFuserRecipe) -> tuple[str, ...]:
    """Say what the loss has beside the paper's terms, if anything."""
    notes = []
    if s.brightness != 1:
        notes.append(
            f"Ours: in equation 5 the brighter source weighs {s.brightness:g}, the darker {2 - s.brightness:g}."
        )
    if s.contrast_weight or s.correlation_weight:
        notes.append(
            f"Ours, after the first {s.plain_epochs} epochs: per crop, {s.contrast_weight:g} x |std(fused) - "
            f"max(std(infrared), std(visible))| and {s.correlation_weight:g} x (1 - mean Pearson correlation with "
            "the sources). These terms are close to what SD and CC measure, so these two figures flatter the "
            "weights; judge them by the pictures and by other metrics too."
        )
    return tuple(notes)


@torch.no_grad()
def fuse_luma(network: nn.Module, infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Fuse two ``(H, W)`` uint8 images with a network in inference mode; returns ``(H, W)`` uint8."""
    return _to_luma(network(as_tensor(infrared), as_tensor(visible)))


def _to_luma(fused: Tensor) -> np.ndarray:
    return (fused[0, 0].clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
