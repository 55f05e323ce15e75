"""Where a run stands, in the form that a checkpoint holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusion_ros.errors import SettingsError

__all__ = ["Means", "Progress", "Row", "check_plan"]

Row = dict[str, Any]
"""One epoch of the history: ``stage``, ``epoch``, ``train_...``, ``validation_...``, ``seconds``."""


@dataclass
class Means:
    """Running means of named values; they begin anew where the names change."""

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, values: Mapping[str, float]) -> None:
        """Count in one more value of each name."""
        if values.keys() != self.sums.keys():
            self.sums, self.count = dict.fromkeys(values, 0.0), 0
        self.sums = {name: self.sums[name] + value for name, value in values.items()}
        self.count += 1

    def take(self) -> dict[str, float]:
        """Return the means, and begin anew."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


@dataclass
class Progress:
    """Where a run stands, and what it has measured.

    Attributes:
        stage: Index of the stage.
        epoch: Epoch of this stage that is running, from 1.
        step: Steps of this epoch that are done.
        steps: Steps of the whole run that are done.
        best: Lowest validation loss of the last stage.
        seconds: Time spent on this epoch.
        of_epoch: Means of the losses since the epoch began.
        of_log: Means of the losses since they were last logged.
        history: A row for each epoch that is complete.
    """

    stage: int = 0
    epoch: int = 1
    step: int = 0
    steps: int = 0
    best: float = math.inf
    seconds: float = 0.0
    of_epoch: Means = field(default_factory=Means)
    of_log: Means = field(default_factory=Means)
    history: list[Row] = field(default_factory=list)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Progress:
        """Return what ``dataclasses.asdict`` has made into dicts."""
        means = {name: Means(**state[name]) for name in ("of_epoch", "of_log")}
        return cls(**{**state, **means})

    def end_epoch(self, row: Row, *, last: bool) -> None:
        """Go on to the next epoch, or after the ``last`` one to the next stage."""
        self.history.append(row)
        self.step, self.seconds = 0, 0.0
        self.epoch, self.stage = (1, self.stage + 1) if last else (self.epoch + 1, self.stage)
        if last:
            self.of_log = Means()  # another stage has other losses


def check_plan(plan: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Check that a run goes on as what it was begun as.

    Raises:
        SettingsError: Stages, their length, or settings that change the result are others.
    """
    for name, value in plan.items():
        if saved[name] != value:
            raise SettingsError(
                f"{name}: the run was begun with {saved[name]!r}, got {value!r}; "
                "restore data and settings, or start a new run"
            )
