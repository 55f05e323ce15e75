"""What every recipe that trains on pairs of images can be told."""

from __future__ import annotations

from dataclasses import dataclass

from fusion_ros.metrics import select_columns
from fusion_ros.settings import setting

from ..data.sampler import SamplerSettings
from ..data.simulate import parse_simulator
from ..loop import LoopSettings
from ..schedules import SCHEDULES

__all__ = ["TrainingSettings", "described_training"]


@dataclass(frozen=True)
class TrainingSettings(SamplerSettings, LoopSettings):
    """What every recipe that trains on pairs of images can be told."""

    learning_rate: float = setting(1e-3, "Adam's learning rate at the start.", bounds=(1e-8, 1.0))
    schedule: str = setting(
        "constant",
        "How the learning rate goes on: constant; cosine, down to zero; steps, a tenth at each third of a stage.",
        choices=SCHEDULES,
    )
    pairs_per_epoch: int = setting(0, "Crops drawn for an epoch; 0 takes one of every pair.", bounds=(0, None))
    simulate: str = setting(
        "none",
        "Misalignment given to the infrared image: none, or such as translation:8 or elastic:normal; of several "
        "joined by +, each sample gets one.",
    )
    metrics: str = setting("EN,SD,CC,SSIM", "Metrics of a validation, as `fusion-ros metrics` names them.")
    metric_pairs: int = setting(
        20, "Validation pairs that are fused whole and measured; 0 measures none.", bounds=(0, None)
    )
    validation_share: float = setting(
        0.1, "Share of the pairs to validate on where neither a list nor the set says which.", bounds=(0.01, 0.9)
    )

    def check(self) -> None:
        """Check what each part of the settings checks, and that names mean something."""
        SamplerSettings.check(self)
        LoopSettings.check(self)
        parse_simulator(self.simulate)
        select_columns(self.metrics)


def described_training(settings: TrainingSettings, paper: str) -> str:
    """Say for a model card how fast, how long and on crops of what size was trained, and what the paper has."""
    s = settings
    return (
        f"Adam {s.learning_rate:g}, {s.schedule} schedule, {s.epochs} epochs, batches of {s.batch} crops of "
        f"{s.crop} px (the paper: {paper})."
    )
