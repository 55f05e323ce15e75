"""What a metric says of itself: its variants, its direction, what it needs, where it is from.

A name alone does not fix a number in this field. So a metric is a family of named variants, and a
column of a table is always one variant of one metric, never a mixture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

__all__ = ["Column", "MetricSpec", "Needs", "Variant"]


class Needs(str, Enum):
    """What a metric has to be given."""

    FUSED = "fused"
    """The fused image alone."""
    TRIPLE = "triple"
    """Infrared, visible and fused image."""
    VIDEO = "video"
    """The triples of two consecutive frames."""


@dataclass(frozen=True)
class Variant:
    """One definition under a metric's name.

    Attributes:
        name: Which definition it is, unique within the metric.
        function: Computes it for one triple, ``(triple)``; where a video is needed, for the triples of two
            consecutive frames, ``(previous, current)``.
        range: Smallest and largest value that the definition allows.
        help: What it is, or whose tables hold it, one sentence.
        requires: Optional Python package without which it cannot be computed.
    """

    name: str
    function: Callable[..., float]
    range: tuple[float, float]
    help: str
    requires: str = ""


@dataclass(frozen=True)
class MetricSpec:
    """One metric of the field.

    Attributes:
        name: As papers print it.
        title: In words.
        variants: Every definition that is offered; the first is the default.
        higher_is_better: Direction of a better image.
        needs: What it has to be given.
        source: The publication that it is from.
    """

    name: str
    title: str
    variants: tuple[Variant, ...]
    higher_is_better: bool
    needs: Needs
    source: str

    @cached_property
    def default(self) -> Variant:
        """The variant that a report shows unless another is asked for."""
        return self.variants[0]


@dataclass(frozen=True)
class Column:
    """One column of a table: one variant of one metric."""

    metric: MetricSpec
    variant: Variant

    @property
    def key(self) -> str:
        """Its name in files, such as ``SD:population_255``; unique."""
        return f"{self.metric.name}:{self.variant.name}"
