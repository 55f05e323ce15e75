"""What an evaluation found: one record a frame, method and condition, and the facts to understand it by.

Everything that is measured on pixels is the same at every run, to the bit, and so is the file made of
it. Times are not, so they are kept apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FusionError, SettingsError
from ..metrics import Column, select_columns

__all__ = [
    "AS_RECORDED",
    "DATE",
    "RESIDUAL",
    "ConditionFacts",
    "Evaluation",
    "FrameRecord",
    "MethodFacts",
    "PictureKey",
    "SourceFacts",
    "Thumbnails",
    "by_severity",
]

FORMAT = "fusion_ros evaluation 1"
RESIDUAL = "residual_px"
"""Key of the residual where columns are asked for by key."""
DATE = "date"
"""The one fact that differs at every run."""
AS_RECORDED = "as recorded"
"""Name of the condition in which nothing was done to the sources."""


@dataclass(frozen=True)
class MethodFacts:
    """A method that was evaluated.

    Attributes:
        name: As the user named it: a model, a classical method, or the label of given fused images.
        description: Network and engine, or where the fused images are from.
        weights_sha256: Hash of its weights; empty without weights.
        parameters: Number of its weights; None where unknown.
    """

    name: str
    description: str = ""
    weights_sha256: str = ""
    parameters: int | None = None


@dataclass(frozen=True)
class ConditionFacts:
    """What was done to the sources before the methods saw them.

    Attributes:
        name: Unique, such as ``shift 5 px``; :data:`AS_RECORDED` where nothing was done.
        kind: Its family: ``shift``, ``elastic``, ``darkness``, ...; empty where nothing was done.
        level: How much, in ``unit``.
        unit: ``px``, ``deg``, ``%``, ``m``, ``frames``, or empty.
        is_misalignment: The geometry was changed, so that there is a residual to report.
        worse_is_lower: The level is what is left, such as a visibility, so that lower ones alter more.
    """

    name: str = AS_RECORDED
    kind: str = ""
    level: float = 0.0
    unit: str = ""
    is_misalignment: bool = False
    worse_is_lower: bool = False


def by_severity(conditions: Sequence[ConditionFacts]) -> list[ConditionFacts]:
    """Return conditions with the mildest of each kind first; the kinds stay in the order in which they come."""
    kinds = list(dict.fromkeys(condition.kind for condition in conditions))
    return sorted(conditions, key=lambda c: (kinds.index(c.kind), -c.level if c.worse_is_lower else c.level))


@dataclass(frozen=True)
class SourceFacts:
    """A folder, a pair of videos or a bag that was evaluated.

    Attributes:
        name: Short and unique.
        kind: ``images``, ``video`` or ``bag``.
        path: Where it is, as the user gave it.
        is_sequence: Its frames follow one another in time.
        received: Sensor name to number of frames.
        paired: Number of pairs.
        dropped: Sensor name to reason to number of frames in no pair; reasons without frames are left out.
        offset_ms: Thermal minus RGB time inside the pairs: ``bias``, ``mean``, ``p50``, ``p95``, ``max``.
        problems: What could not be read, one sentence each.
    """

    name: str
    kind: str
    path: str
    is_sequence: bool = False
    received: Mapping[str, int] = field(default_factory=dict)
    paired: int = 0
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    offset_ms: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameRecord:
    """One fused frame and its figures.

    Attributes:
        source: Name of its source.
        frame: Its name within the source: a file's stem, or the reference frame's stamp.
        method: Name of the method.
        condition: Name of the condition.
        stamp_ns: Stamp of the reference frame; its position in a folder, at a nominal rate.
        values: Column key to value; NaN where a metric is undefined.
        offset_ms: Thermal minus RGB time of the pair.
        residual_px: Mean distance, over the image, between where thermal pixels ended up and where they
            belong; None where no misalignment was applied, and where the method aligns the images and does not
            say how, or says it on another grid than the thermal image's.
    """

    source: str
    frame: str
    method: str
    condition: str
    stamp_ns: int
    values: Mapping[str, float]
    offset_ms: float = 0.0
    residual_px: float | None = None

    def figure(self, key: str) -> float:
        """Return the value of a column, or of :data:`RESIDUAL`; NaN where there is none."""
        if key == RESIDUAL:
            return math.nan if self.residual_px is None else self.residual_px
        return self.values.get(key, math.nan)


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Small JPEG pictures of one frame, equal in size.

    Attributes:
        thermal: What the method got from the thermal camera, on the output grid.
        rgb: What it got from the RGB camera.
        fused: What it made of them.
    """

    thermal: bytes
    rgb: bytes
    fused: bytes


PictureKey = tuple[str, str, str, str]
"""What small pictures are found by: source, frame, method, condition."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A complete evaluation.

    Attributes:
        facts: How it came about, for people: command line, commit, versions, device, date; in order.
        columns: The metrics.
        methods: In the order given.
        conditions: The unaltered one first.
        sources: In the order given.
        frames: Ordered by source, condition, method, time.
        stage_ms: Method to stage to ``mean``, ``p50``, ``p95`` milliseconds a frame; stage ``total`` is their sum.
    """

    facts: Mapping[str, str]
    columns: tuple[Column, ...]
    methods: tuple[MethodFacts, ...]
    conditions: tuple[ConditionFacts, ...]
    sources: tuple[SourceFacts, ...]
    frames: tuple[FrameRecord, ...]
    stage_ms: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """What could not be read, over all sources."""
        return [problem for source in self.sources for problem in source.problems]

    def select(self, method: str, condition: str = AS_RECORDED) -> Iterator[FrameRecord]:
        """Yield the frames of one method under one condition."""
        return iter(self._by_method.get((method, condition), ()))

    @cached_property
    def _by_method(self) -> dict[tuple[str, str], list[FrameRecord]]:
        """Method and condition to their frames: tables and plots ask for them thousands of times."""
        found: dict[tuple[str, str], list[FrameRecord]] = {}
        for frame in self.frames:
            found.setdefault((frame.method, frame.condition), []).append(frame)
        return found

    def mean(self, key: str, method: str, condition: str = AS_RECORDED) -> float:
        """Return the plain mean of a column over the frames where it is defined; NaN where it is nowhere.

        ``key`` may also be :data:`RESIDUAL`.
        """
        found = [frame.figure(key) for frame in self.select(method, condition)]
        defined = [value for value in found if not math.isnan(value)]
        return float(np.mean(defined)) if defined else float("nan")

    def undefined(self, key: str, method: str, condition: str = AS_RECORDED) -> int:
        """Return in how many frames a column has no value."""
        return sum(math.isnan(frame.figure(key)) for frame in self.select(method, condition))

    def to_json(self) -> str:
        """Return everything but times and the date as JSON; a value that is undefined is null."""
        content = {
            "format": FORMAT,
            "facts": {name: fact for name, fact in self.facts.items() if name != DATE},
            "columns": [column.key for column in self.columns],
            "methods": [asdict(item) for item in self.methods],
            "conditions": [asdict(item) for item in self.conditions],
            "sources": [asdict(item) for item in self.sources],
            "means": [
                {"method": m.name, "condition": c.name}
                | {column.key: _or_null(self.mean(column.key, m.name, c.name)) for column in self.columns}
                for c in self.conditions
                for m in self.methods
            ],
            "frames": [
                {**asdict(frame), "values": {key: _or_null(value) for key, value in frame.values.items()}}
                for frame in self.frames
            ],
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def times_json(self) -> str:
        """Return what differs from run to run: the date, and milliseconds by method and stage."""
        return json.dumps({DATE: self.facts.get(DATE, ""), "stage_ms": self.stage_ms}, indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Read what :meth:`to_json` wrote; times are not in it.

        Raises:
            FusionError: The file cannot be read, or is no evaluation.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise FusionError(f"{path}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise FusionError(
                f"{path}: expected the results.json of 'fusion-ros evaluate', got no JSON"
            ) from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise FusionError(f"{path}: expected the results.json of 'fusion-ros evaluate' ({FORMAT})")
        try:
            return cls._from(content)
        except (KeyError, TypeError, AttributeError, SettingsError) as error:
            raise FusionError(
                f"{path}: incomplete, or written by another version of 'fusion-ros evaluate': {error}"
            ) from error

    @classmethod
    def _from(cls, content: Mapping[str, Any]) -> Evaluation:
        return cls(
            facts=content["facts"],
            columns=select_columns(content["columns"]),
            methods=tuple(MethodFacts(**item) for item in content["methods"]),
            conditions=tuple(ConditionFacts(**item) for item in content["conditions"]),
            sources=tuple(
                SourceFacts(**{**item, "problems": tuple(item["problems"])}) for item in content["sources"]
            ),
            frames=tuple(
                FrameRecord(
                    **{**item, "values": {k: math.nan if v is None else v for k, v in item["values"].items()}}
                )
                for item in content["frames"]
            ),
        )


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value
