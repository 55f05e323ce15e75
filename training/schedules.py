"""Learning rates over time, as factors of the rate at the start; ``progress`` runs from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

__all__ = ["SCHEDULES", "constant", "cosine", "in_steps", "schedule"]

Rate = Callable[[float], float]
SCHEDULES = ("constant", "cosine", "steps")


def constant(progress: float) -> float:
    """Return 1 throughout."""
    return 1.0


def cosine(progress: float) -> float:
    """Return ``(1 + cos(pi progress)) / 2``: from 1 to 0, flat at both ends."""
    return (1 + math.cos(math.pi * progress)) / 2


def in_steps(milestones: Sequence[float], factor: float = 0.1) -> Rate:
    """Return a rate that is multiplied by ``factor`` when progress reaches each of ``milestones``."""

    def rate(progress: float) -> float:
        return factor ** sum(progress >= milestone for milestone in milestones)

    return rate


def schedule(name: str, milestones: Sequence[float] = (1 / 3, 2 / 3)) -> Rate:
    """Return the rate of a name in :data:`SCHEDULES`; ``milestones`` is where ``steps`` go down to a tenth."""
    return {"constant": constant, "cosine": cosine, "steps": in_steps(milestones)}[name]
