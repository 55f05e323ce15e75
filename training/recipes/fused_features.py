"""Train fused features in two stages: the backbone for a correlation filter, then the head behind it.

RFN-Nest (section 5.1) and LRRNet (section 5.4.1) train their modules inside trackers that others have trained, and
leave those fixed; so does the second stage with the backbone, on the papers' losses, the tracking loss, or both.
The first stage is in place of the trackers' ResNet-50, and learns from the same pairs: two views of a scene,
either camera for itself and, if asked for, one camera's target in the other's view.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusion_ros.errors import SettingsError
from fusion_ros.networks import FusedFeatures, FusedFeaturesSettings
from fusion_ros.networks.fused_features import STRIDE, CameraFeatures, balanced
from fusion_ros.settings import setting
from fusion_ros.weights import load_network

from ..batch import Batch
from ..data.views import Views, ViewSettings, drawn_views
from ..losses.lrrnet_tracking import lrrnet_tracking_loss
from ..losses.rfn_tracking import rfn_tracking_loss
from ..losses.tracking import filter_response, hits, tracking_loss
from ..recipe import Losses, Stage
from ..schedules import SCHEDULES
from .networks import begin_with
from .pair_recipe import PairRecipe
from .settings import TrainingSettings

__all__ = ["FusedFeaturesRecipe", "FusedFeaturesTraining"]

_PAPERS = {"rfn": (rfn_tracking_loss, 1e-3), "lrrnet": (lrrnet_tracking_loss, 0.05)}
"""Head -> its paper's loss, and what brings that to the size of the tracking loss."""
_ROUNDS = 4  # views of each validation pair


@dataclass(frozen=True)
class FusedFeaturesTraining(ViewSettings, TrainingSettings):
    """Settings of the recipe."""

    channels: int = setting(32, "Channels of the features.", bounds=(2, 512))
    head: str = setting("rfn", "The head that fuses the cameras' features.", choices=("rfn", "lrrnet"))
    head_loss: str = setting(
        "both",
        "What the head is trained with: the loss of its paper, the tracking loss on fused features, or both.",
        choices=("paper", "tracking", "both"),
    )
    paper_weight: float = setting(
        1.0,
        "Weight of the paper's loss beside the tracking loss, where both count; it is first brought to the same "
        "size, by 0.001 for the RFN's and by 0.05 for LRRNet's.",
        bounds=(0, None),
    )
    start: str = setting(
        "", "Model of fused features whose backbone to take, a name or a folder; then the head alone is trained."
    )
    cross_weight: float = setting(
        0.0, "Weight of finding one camera's target in the other's view, in the first stage.", bounds=(0, None)
    )
    backbone_epochs: int = setting(60, "Passes of pairs_per_epoch samples for the backbone.", bounds=(1, None))
    epochs: int = setting(30, "Passes of pairs_per_epoch samples for the head.", bounds=(1, None))
    pairs_per_epoch: int = setting(1200, "Crops drawn for an epoch; 0 takes one of every pair.", bounds=(0, None))
    learning_rate: float = setting(2e-3, "Adam's learning rate at the start of a stage.", bounds=(1e-8, 1.0))
    schedule: str = setting("cosine", "How the learning rate goes on in a stage.", choices=SCHEDULES)
    batch: int = setting(8, "Crops in a batch, of all processes together.", bounds=(1, None))
    crop: int = setting(
        160,
        "Side of the square crops that views are cut from; they move evenly about its middle.",
        unit="px",
        bounds=(32, None),
    )
    ema_decay: float = setting(
        0.998,
        "Decay per step of the moving average of the weights, which is validated and published; 0 is off.",
        bounds=(0.0, 0.99999),
    )
    metric_pairs: int = setting(
        0, "Validation pairs that are fused whole and measured; features are no image.", bounds=(0, None)
    )

    def check(self) -> None:
        """Check also that a view is whole cells, inside a crop, and that displacements fit into it."""
        super().check()
        if self.view % STRIDE or self.view > self.crop:
            raise SettingsError(
                f"view: expected a multiple of {STRIDE} px of at most the crop, {self.crop} px, got {self.view}; "
                f"take {min(self.view, self.crop) // STRIDE * STRIDE}"
            )
        if 2 * self.reach * STRIDE >= self.view:
            raise SettingsError(
                f"reach: expected less than half of a view, {self.view // (2 * STRIDE)} cells, got {self.reach}; "
                f"use less reach or a larger view"
            )


class _Seen(NamedTuple):
    """Each camera's features of two views, and the true displacement in cells."""

    template_infrared: CameraFeatures
    template_visible: CameraFeatures
    search_infrared: CameraFeatures
    search_visible: CameraFeatures
    displacement: Tensor


class FusedFeaturesRecipe(PairRecipe):
    """Backbone, then head."""

    name = "fused_features"
    summary = "a backbone and a fusion head whose features a correlation filter tracks by"
    Settings: ClassVar = FusedFeaturesTraining
    SMALL: ClassVar = MappingProxyType({"backbone_epochs": 10, "epochs": 6})

    @classmethod
    def build_network(cls, settings: Any) -> FusedFeatures:
        """Return the network, with fresh weights."""
        return FusedFeatures(FusedFeaturesSettings(channels=settings.channels, head=settings.head))

    def make_stages(self) -> Iterator[Stage]:
        """Yield the backbone's stage, unless it is taken from a model, and the head's."""
        s, network = self.settings, self.network
        if s.start:
            given = load_network(s.start)
            part = getattr(given, "backbone", given)
            begin_with(network.backbone, part, f"{s.start} has no such backbone", "its --channels")
        else:
            yield self.stage("backbone", s.backbone_epochs, self._backbone_losses, trained=(network.backbone,))
        yield self.stage("head", s.epochs, self._head_losses, trained=(network.head,))

    def _backbone_losses(self, batch: Batch) -> Losses:
        seen = self._see(self._views(batch, degraded=0.0))
        infrared = self._missed(seen.template_infrared.values, seen.search_infrared.values, seen)
        visible = self._missed(seen.template_visible.values, seen.search_visible.values, seen)
        total = infrared + visible
        losses = {"infrared": infrared, "visible": visible}
        if weight := self.settings.cross_weight:
            losses["cross"] = self._missed(
                seen.template_infrared.values, seen.search_visible.values, seen
            ) + self._missed(seen.template_visible.values, seen.search_infrared.values, seen)
            total = total + weight * losses["cross"]
        return {"total": total, **losses}

    def _head_losses(self, batch: Batch) -> Losses:
        s = self.settings
        with torch.no_grad():
            seen = self._see(self._views(batch, s.degraded))
            template, search = self._balanced(seen)
        fused = self.network.head(*template), self.network.head(*search)
        losses = {"tracking": self._missed(*fused, seen)}
        if s.head_loss == "tracking":
            return {"total": losses["tracking"], **losses}
        infrared, visible = (torch.cat(maps) for maps in zip(template, search, strict=True))
        losses["paper"] = self._paper_loss(torch.cat(fused), infrared, visible)
        both = losses["tracking"] + s.paper_weight * losses["paper"]
        return {"total": losses["paper"] if s.head_loss == "paper" else both, **losses}

    def _paper_loss(self, fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
        loss, size = _PAPERS[self.settings.head]
        return size * loss([fused], [infrared], [visible]).total

    def _views(self, batch: Batch, degraded: float, generator: torch.Generator | None = None) -> Views:
        return drawn_views(batch.registered, batch.visible, self.settings, STRIDE, degraded, generator)

    def _see(self, views: Views) -> _Seen:
        images = torch.cat([*views.template.split(1, dim=1), *views.search.split(1, dim=1)])
        values, contrasts = (part.chunk(4) for part in self.network.backbone(images))
        return _Seen(*map(CameraFeatures, values, contrasts), views.motion.displacement / STRIDE)

    def _balanced(self, seen: _Seen) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return what the head is given of the template, and of the search view."""
        power = self.network.settings.balance
        template = balanced(seen.template_infrared, seen.template_visible, power)
        return template, balanced(seen.search_infrared, seen.search_visible, power)

    @staticmethod
    def _missed(template: Tensor, search: Tensor, seen: _Seen) -> Tensor:
        return tracking_loss(filter_response(template, search), seen.displacement)

    @torch.no_grad()
    def validate(self, stage: Stage) -> dict[str, float]:
        """Return the tracking loss of fused features and the shares of targets found, a camera at times degraded.

        ``hits_infrared``, ``hits_visible`` and ``hits_fused`` are the shares whose peak is within one cell of the
        truth; ``hits_sum`` is that of both cameras' balanced features added, which a head has to beat. The views
        are the same at every validation.
        """
        self.network.eval()
        generator = torch.Generator(self.device).manual_seed(self.settings.seed + 1)
        rows = []
        for number in range(_ROUNDS):
            for batch in self._validation.epoch(number + 1):
                batch = Batch(*(part.to(self.device) for part in batch))
                rows.append(self._validated(self._see(self._views(batch, self.settings.degraded, generator))))
        return {name: float(np.mean([float(row[name]) for row in rows])) for name in rows[0]}

    def _validated(self, seen: _Seen) -> Losses:
        both = self._balanced(seen)
        head = self.network.head
        pairs = {
            "infrared": (seen.template_infrared.values, seen.search_infrared.values),
            "visible": (seen.template_visible.values, seen.search_visible.values),
            "sum": tuple(torch.add(*maps) for maps in both),
            "fused": tuple(head(*maps) for maps in both),
        }
        responses = {name: filter_response(*pair) for name, pair in pairs.items()}
        found = {f"hits_{name}": hits(response, seen.displacement) for name, response in responses.items()}
        return {"loss": tracking_loss(responses["fused"], seen.displacement), **found}

    def gives_image(self, stage: Stage) -> bool:
        """Return False: features are no image."""
        return False

    @torch.no_grad()
    def pictures(self, stage: Stage) -> dict[str, np.ndarray]:
        """Return a validation scene: template and search view of either camera, infrared above visible."""
        batch = next(iter(self._validation.epoch(1)))
        generator = torch.Generator().manual_seed(self.settings.seed + 1)
        views = self._views(batch, self.settings.degraded, generator)
        rows = [torch.cat([view[0, camera] for view in views[:2]], dim=1) for camera in (0, 1)]
        return {"template, search view": (255 * torch.cat(rows)).byte().numpy()}

    @classmethod
    def notes(cls, settings: Any) -> tuple[str, ...]:
        """Say for a model card what was done."""
        s = settings
        crops = f"{s.pairs_per_epoch} crops" if s.pairs_per_epoch else "a crop of every pair"
        return (
            "Features for a correlation filter, of both signs: cells of 4 x 4 px of one-channel images in [0, 1].",
            f"Views of {s.view} px of crops of {s.crop} px: the target moves by up to {s.reach} cells along an "
            f"axis, turns by {s.turn:g} degrees, changes its size by {s.zoom:g}; greys, sharpness and noise "
            f"change at random; {100 * s.occluded:.0f} % of the search views are partly hidden, in "
            f"{100 * s.elsewhere:.0f} % the target stands in front of another scene.",
            _described_backbone(s),
            _described_head(s),
            f"Adam {s.learning_rate:g}, {s.schedule} schedule, batches of {s.batch}; an epoch is {crops}.",
        )


def _described_backbone(settings: Any) -> str:
    """Say where the backbone comes from."""
    s = settings
    if s.start:
        return f"The backbone is that of the model {s.start!r}."
    across = f", and {s.cross_weight:g} x that across the cameras" if s.cross_weight else ""
    return f"Backbone, {s.backbone_epochs} epochs: the tracking loss on either camera{across}."


def _described_head(settings: Any) -> str:
    """Say how the head was trained."""
    s = settings
    _, size = _PAPERS[s.head]
    loss = {
        "paper": "the loss of its paper",
        "tracking": "the tracking loss on fused features",
        "both": f"the tracking loss on fused features, and {s.paper_weight * size:g} x the loss of its paper",
    }[s.head_loss]
    return (
        f"Head {s.head}, {s.epochs} epochs behind the fixed backbone: {loss}; one camera degraded in "
        f"{100 * s.degraded:.0f} % of the scenes."
    )
