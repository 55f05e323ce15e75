"""A small evaluation with known figures, for the tests of what shows evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from fusion_ros.evaluation.results import (
    AS_RECORDED,
    ConditionFacts,
    Evaluation,
    FrameRecord,
    MethodFacts,
    SourceFacts,
    Thumbnails,
)
from fusion_ros.metrics import select_columns

COLUMNS = select_columns("EN,SD,CE,CC")
EN, SD, CE, CC = (column.key for column in COLUMNS)
SHIFTS = tuple(ConditionFacts(f"shift {px} px", "shift", px, "px", is_misalignment=True) for px in (2, 5))
DARKNESS = ConditionFacts("darkness 50 %", "darkness", 50, "%")

Figures = Callable[[str, str, str, int], float]  # method, condition, column key, number of the frame -> value


def drawn(method: str, condition: str, key: str, frame: int) -> float:
    """Return a number that only depends on its arguments."""
    seed = sum(map(ord, f"{method}{condition}{key}")) * 1000 + frame
    return float(np.random.default_rng(seed).uniform(0.2, 0.9))


def small_evaluation(
    methods: Sequence[str] = ("average", "laplacian", "reconet"),
    figures: Figures = drawn,
    *,
    conditions: Sequence[ConditionFacts] = (ConditionFacts(), *SHIFTS, DARKNESS),
    stills: int = 4,
    sequence: int = 12,
    source: str = "road",
    facts: dict[str, str] | None = None,
) -> Evaluation:
    """Return an evaluation of a folder of still images and of a sequence called ``drive``."""
    sources = (
        SourceFacts(
            source, "images", f"data/{source}", paired=stills, received={"rgb": stills, "thermal": stills}
        ),
        SourceFacts(
            "drive",
            "bag",
            "drive.mcap",
            is_sequence=True,
            received={"rgb": sequence + 2, "thermal": sequence + 1},
            paired=sequence,
            dropped={"rgb": {"unmatched": 2}, "thermal": {"late": 1}},
            offset_ms={"bias": 0.5, "mean": 1.5, "p50": 1.25, "p95": 4.0, "max": 6.5},
            problems=(f"{source}.png: ends early",),
        ),
    )
    frames = [
        FrameRecord(
            source=facts_of.name,
            frame=f"{number:04d}",
            method=method,
            condition=condition.name,
            stamp_ns=number * 40_000_000,
            values={column.key: figures(method, condition.name, column.key, number) for column in COLUMNS},
            offset_ms=1.5 if facts_of.is_sequence else 0.0,
            residual_px=condition.level / 4 if condition.is_misalignment else None,
        )
        for facts_of in sources
        for condition in conditions
        for method in methods
        for number in range(facts_of.paired)
    ]
    stages = {"align": 1.0, "fuse": 3.0, "total": 4.0}
    return Evaluation(
        facts={"command": "fusion-ros evaluate", "commit": "0123abc"} if facts is None else facts,
        columns=COLUMNS,
        methods=tuple(MethodFacts(method, f"what {method} is", "ab" * 32, 1234) for method in methods),
        conditions=tuple(conditions),
        sources=sources,
        frames=tuple(frames),
        stage_ms={m: {stage: {"mean": t, "p50": t, "p95": 2 * t} for stage, t in stages.items()} for m in methods},
    )


def thumbnails_of(evaluation: Evaluation) -> dict[tuple[str, str, str, str], Thumbnails]:
    """Return pictures of every frame as recorded."""
    jpegs = [
        cv2.imencode(".jpg", np.full((24, 32), grey, np.uint8))[1].tobytes() for grey in (60, 120, 180)
    ]  # thermal, RGB, fused
    return {
        (frame.source, frame.frame, frame.method, frame.condition): Thumbnails(*jpegs)
        for frame in evaluation.frames
        if frame.condition == AS_RECORDED
    }


def constant(values: dict[tuple[str, str], float]) -> Figures:
    """Return figures that are the same in every frame: method and column key to value; NaN where not named."""
    return lambda method, condition, key, frame: values.get((method, key), math.nan)
