"""Train ReCoNet: its recurrent fuser on registered pairs, its register on known deformations, then both.

Huang et al., ReCoNet, ECCV 2022, sections 2.4 and 3.1: Adam, learning rate 0.001, 300 epochs, 0.6 of the fusion
loss and 0.4 of the registration loss, both networks at once. What the paper leaves open, or what is done
otherwise, is a setting with its reason in the help text.

``reconet_fuser`` trains the fuser alone; ``reconet`` trains fuser, register, and both jointly, each as long as
asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fusion_ros.errors import SettingsError
from fusion_ros.imaging.flow_picture import flow_picture
from fusion_ros.networks import FusionNetwork, ReCoNet, ReCoNetFuser, ReCoNetFuserSettings, ReCoNetSettings
from fusion_ros.settings import setting
from fusion_ros.weights import load_network

from ..batch import Batch
from ..losses.reconet import fusion_loss, joint_loss, registration_loss
from ..recipe import Losses, Stage
from ..schedules import SCHEDULES
from .networks import begin_with
from .own_terms import OwnTerms
from .pair_recipe import PairRecipe

__all__ = ["ReCoNetFuserRecipe", "ReCoNetFuserTraining", "ReCoNetRecipe", "ReCoNetTraining"]


@dataclass(frozen=True)
class ReCoNetFuserTraining(OwnTerms):
    """Settings of the fuser's training; the paper's values where it gives one."""

    epochs: int = setting(300, "Passes over the training pairs.", bounds=(1, None))
    schedule: str = setting(
        "cosine",
        "How the learning rate goes on; the paper names no schedule, cosine ends at zero.",
        choices=SCHEDULES,
    )
    crop: int = setting(96, "Side of the square training crops.", unit="px", bounds=(16, None))
    batch: int = setting(4, "Crops in a batch, of all processes together.", bounds=(1, None))
    gamma: float = setting(0.28, "Share of structure against pixel intensity in the loss.", bounds=(0, 1))
    brightness: float = setting(
        1.0, "Pull of the brighter source in the pixel term; above 1 is ours.", bounds=(0, 2)
    )
    plain_epochs: int = setting(10, "Epochs before the terms of ours are added to the paper's.", bounds=(0, None))
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


class ReCoNetFuserRecipe(PairRecipe):
    """The fuser alone, on registered pairs."""

    name = "reconet_fuser"
    summary = "ReCoNet's recurrent fuser on registered pairs"
    Settings: ClassVar = ReCoNetFuserTraining
    SMALL: ClassVar = MappingProxyType(
        {
            "epochs": 50,
            "validate_every": 5,
            "brightness": 1.1,
            "contrast_weight": 3.0,
            "correlation_weight": 0.3,
        }
    )

    @classmethod
    def build_network(cls, settings: Any) -> FusionNetwork:
        """Return the network, with fresh weights."""
        return ReCoNetFuser(ReCoNetFuserSettings(settings.width, settings.recurrences))

    def make_stages(self) -> Iterator[Stage]:
        """Yield the only stage."""
        yield self.fusing_stage("fuse", self.network)

    def fusing_stage(self, name: str, fuser: nn.Module) -> Stage:
        """Return the stage that trains a fuser by itself, on pairs as their set registers them."""
        settings = self.settings
        for norm in _norms(fuser):
            norm.momentum = settings.statistics_momentum
        # Channels-last is half as fast again on a CPU for this network, with the same result.
        fuser.to(memory_format=torch.channels_last)
        self._plain = False

        def prepare(epoch: int) -> None:
            self._plain = epoch <= settings.plain_epochs
            fuser.train()
            if epoch > settings.statistics_epochs:
                for norm in _norms(fuser):
                    norm.eval()

        def losses(batch: Batch) -> Losses:
            return self.fusion_losses(fuser(batch.registered, batch.visible), batch)

        return self.stage(name, settings.epochs, losses, trained=(fuser,), prepare=prepare)

    def validate(self, stage: Stage) -> dict[str, float]:
        """Return loss and metrics as for every recipe; with the terms of ours from the first epoch on.

        Else the epochs without them would have the lowest losses.
        """
        plain, self._plain = self._plain, False
        try:
            return super().validate(stage)
        finally:
            self._plain = plain

    def fusion_losses(self, fused: Tensor, batch: Batch) -> Losses:
        """Return the fusion loss of a batch; the terms of ours join after ``plain_epochs``."""
        s = self.settings
        loss = fusion_loss(
            fused, batch.registered, batch.visible, gamma=s.gamma, brightness=s.brightness
        )._asdict()
        return loss if self._plain else s.with_own_terms(loss, fused, batch)

    @classmethod
    def notes(cls, settings: Any) -> tuple[str, ...]:
        """Say for a model card what was done, and where it leaves the paper."""
        s = settings
        bright = (
            f" In equation 5 the brighter source weighs {s.brightness:g} (ours), the darker {2 - s.brightness:g}."
        )
        return (
            "Fuses registered single-channel images in [0, 1], infrared first, visible luma second; the output is "
            "clamped to [0, 1], never stretched.",
            f"Loss: the paper's equations 3 to 5, gamma {s.gamma:g}, all reductions means."
            + (bright if s.brightness != 1 else ""),
            *s.describe_own_terms(),
            *((f"Terms of ours join after {s.plain_epochs} epochs.",) if s.describe_own_terms() else ()),
            f"Adam {s.learning_rate:g}, {s.schedule} schedule, {s.epochs} epochs of the fuser (the paper: 300, no "
            f"schedule named), batches of {s.batch} crops of {s.crop} px.",
            f"BatchNorm uses batch statistics for {s.statistics_epochs} epochs, "
            f"momentum {s.statistics_momentum:g}, then fixed running statistics, so that training computes what "
            "deployment computes.",
        )


@dataclass(frozen=True)
class ReCoNetTraining(ReCoNetFuserTraining):
    """Settings of the joint network's training."""

    simulate: str = setting(
        "elastic:normal", "Deformation of the infrared image; the authors name easy, normal, hard."
    )
    epochs: int = setting(
        0, "Passes that train the fuser alone, on registered pairs; the paper has none.", bounds=(0, None)
    )
    start: str = setting("", "Model of a fuser to begin with, a name or a folder.")
    register_epochs: int = setting(
        0, "Passes that train the register alone; the paper has none.", bounds=(0, None)
    )
    joint_epochs: int = setting(300, "Passes that train fuser and register together.", bounds=(0, None))
    register: str = setting("micro", "Which register.", choices=("micro", "unet"))
    inputs: int = setting(2, "Input maps of the register: the images, or also the edges of each.", choices=(2, 4))
    eta: float = setting(0.78, "Share of similarity against smoothness in the registration loss.", bounds=(0, 1))
    fusion_share: float = setting(0.6, "Share of fusion against registration in the joint loss.", bounds=(0, 1))

    def check(self) -> None:
        """Check also that there is something to train."""
        ReCoNetFuserTraining.check(self)
        if not self.epochs + self.register_epochs + self.joint_epochs:
            raise SettingsError("expected epochs, register_epochs or joint_epochs above 0; all are 0")


class ReCoNetRecipe(ReCoNetFuserRecipe):
    """Fuser, register, both."""

    name = "reconet"
    summary = "ReCoNet whole: fuser, register, and both jointly"
    Settings = ReCoNetTraining
    SMALL: ClassVar = MappingProxyType(
        ReCoNetFuserRecipe.SMALL | {"epochs": 0, "start": "reconet", "register_epochs": 40, "joint_epochs": 10}
    )

    @classmethod
    def build_network(cls, settings: Any) -> FusionNetwork:
        """Return the network, with fresh weights."""
        s = settings
        return ReCoNet(
            ReCoNetSettings(register=s.register, inputs=s.inputs, width=s.width, recurrences=s.recurrences)
        )

    def make_stages(self) -> Iterator[Stage]:
        """Yield the stages that are given epochs; the fuser that is to begin with is loaded before."""
        s, network = self.settings, self.network
        if s.start:
            begin_with(network.fuser, load_network(s.start), f"{s.start} is no such fuser", "its --width")
        alone = self.fusing_stage("fuse", network.fuser)
        if s.epochs:
            yield alone
        if s.register_epochs:
            yield self.stage("register", s.register_epochs, self._registration_losses, trained=(network.register,))
        if s.joint_epochs:
            prepare = self._prepare_joint(fixed_statistics=bool(s.start or s.epochs))
            yield self.stage("joint", s.joint_epochs, self._joint_losses, prepare=prepare)

    def _prepare_joint(self, *, fixed_statistics: bool) -> Callable[[int], None]:
        def prepare(epoch: int) -> None:
            self._plain = False
            self.network.train()
            if fixed_statistics or epoch > self.settings.statistics_epochs:
                for norm in _norms(self.network.fuser):
                    norm.eval()

        return prepare

    def _registration_losses(self, batch: Batch) -> Losses:
        flow = self.network.register(batch.infrared, batch.visible)
        loss = registration_loss(flow, batch.flow, batch.inside, eta=self.settings.eta)._asdict()
        return loss | {"error_px": _error(flow, batch)}

    def _joint_losses(self, batch: Batch) -> Losses:
        found = self.network.correct(batch.infrared, batch.visible)
        registration = registration_loss(found.flow, batch.flow, batch.inside, eta=self.settings.eta)
        fusion = self.fusion_losses(found.fused, batch)
        joint = joint_loss(fusion["total"], registration.total, fusion_share=self.settings.fusion_share)
        return joint._asdict() | {"error_px": _error(found.flow, batch)}

    @torch.no_grad()
    def pictures(self, stage: Stage) -> dict[str, np.ndarray]:
        """Return the pair and its fusion, and the flow beside the true one, both by the same colours."""
        shown = super().pictures(stage)
        if stage.name == "fuse":
            return shown
        batch = next(iter(self._validation.epoch(1)))
        self.network.eval()
        found = self.network.register(batch.infrared[:1].to(self.device), batch.visible[:1].to(self.device))
        flows = [flow[0].permute(1, 2, 0).cpu().numpy() for flow in (found, batch.flow)]
        largest = float(np.abs(flows[1]).max())
        return shown | {"flow, true flow": np.concatenate([flow_picture(flow, largest) for flow in flows], axis=1)}

    @classmethod
    def notes(cls, settings: Any) -> tuple[str, ...]:
        """Say for a model card what was done, and where it leaves the paper."""
        s = settings
        begun = f"The fuser began as the model {s.start!r}. " if s.start else ""
        return (
            *super().notes(settings),
            f"{begun}Then {s.register_epochs} epochs of the register alone and {s.joint_epochs} of both, eta "
            f"{s.eta:g}, lambda {s.fusion_share:g}, on deformations of the kind {s.simulate} (the paper: both at "
            "once, 300 epochs).",
            "The register's target is the exact inverse of the deformation, where the paper takes its negative.",
        )


def _norms(network: nn.Module) -> Iterator[nn.BatchNorm2d]:
    """Looked up anew each time: on several GPUs they are replaced by synchronised ones."""
    return (module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))


def _error(flow: Tensor, batch: Batch) -> Tensor:
    """Mean length of the flow's error in pixels, where the true flow points into the image; for reading."""
    length = (flow.detach() - batch.flow).square().sum(dim=1, keepdim=True).sqrt()
    return (length * batch.inside).sum() / batch.inside.sum().clamp(min=1)
