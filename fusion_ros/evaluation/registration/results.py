"""What was found about aligners: one record a pair, aligner and condition, and what to say of them together."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property

import numpy as np

from ..bootstrap import Stratum, mean_interval
from ..figures import time_figures, without_nan
from ..results import AS_RECORDED
from .parallax import EVERYWHERE, OUTLINES, TABLE, WHOLE, ParallaxRecord, ParallaxSummary, Span
from .quality import TRUTH, QualityRecord, QualitySummary

__all__ = ["FAR_PX", "AlignerFacts", "AlignmentEvaluation", "AlignmentRecord", "Summary"]

FORMAT = "fusion_ros alignment 1"
FAR_PX = 2.0
"""An image that is off by more than this on average counts as misaligned."""


@dataclass(frozen=True)
class AlignmentRecord:
    """One aligner on one pair under one condition.

    Attributes:
        known_px: Known part error (:mod:`.measure`), mean over pixels; as recorded, what the aligner adds when it
            is run on its own result.
        label_px: Distance from the pair's own label, mean over pixels.
        nothing_px: Mean length of the deformation: the label error of doing nothing. Of a rendered pair, mean
            length of the true flow: the known part error of doing nothing.
        compared: Share of the pixels that errors were taken over.
        confidence: The aligner's own, 0 to 1.
        is_believed: The pipeline would take the answer (:mod:`fusion_ros.alignment.belief`, usual settings); as
            recorded, what the aligner adds.
        has_failed: It found nothing; its flow, zero as a rule, is measured all the same.
        ms: Of the call. Differs from run to run, so it is no part of the CSV.
    """

    source: str
    frame: str
    aligner: str
    condition: str
    known_px: float
    label_px: float
    nothing_px: float
    compared: float
    confidence: float
    is_believed: bool
    has_failed: bool
    ms: float = math.nan


@dataclass(frozen=True)
class AlignerFacts:
    """An aligner that was measured.

    Attributes:
        description: What it is, and what runs it.
        weights_sha256: Hash of its weights; empty without weights.
    """

    name: str
    description: str = ""
    weights_sha256: str = ""


@dataclass(frozen=True)
class Summary:
    """An aligner under one condition, over all images; NaN where there are none.

    Attributes:
        images: How many.
        known_mean: Of the images' known part errors, px.
        known_low: Lower end of its 95 % interval.
        known_high: Upper end.
        known_median: px.
        far: Share of the images that are off by more than :data:`FAR_PX`.
        label_mean: Of the images' label errors, px.
        label_median: px.
        nothing_mean: Of the images' deformations, px.
        believed: Number of images on which the pipeline would take the answer.
        failures: Number of images on which nothing was found.
    """

    images: int
    known_mean: float
    known_low: float
    known_high: float
    known_median: float
    far: float
    label_mean: float
    label_median: float
    nothing_mean: float
    believed: int
    failures: int


@dataclass(frozen=True, eq=False)
class AlignmentEvaluation:
    """Everything that was found.

    Attributes:
        facts: For people: command line, versions, ...
        aligners: In the order asked for.
        conditions: Names, :data:`~fusion_ros.evaluation.results.AS_RECORDED` first; of rendered pairs what they
            show.
        sequences: Names of the recordings whose pairs follow one another in time.
        records: Sorted by recording, pair, aligner and condition.
        problems: What could not be read or run, one sentence each.
        parallax: Of rendered pairs, the errors by distance; sorted likewise.
        quality: What fused images of deformed pairs are worth; sorted likewise.
        metrics: Keys of what was measured of them.
    """

    facts: Mapping[str, str]
    aligners: Sequence[AlignerFacts]
    conditions: Sequence[str]
    sequences: Sequence[str]
    records: Sequence[AlignmentRecord]
    problems: Sequence[str] = field(default=())
    parallax: Sequence[ParallaxRecord] = field(default=())
    quality: Sequence[QualityRecord] = field(default=())
    metrics: Sequence[str] = field(default=())

    def select(self, aligner: str, condition: str) -> Iterator[AlignmentRecord]:
        """Yield the records of one aligner under one condition."""
        return (r for r in self.records if r.aligner == aligner and r.condition == condition)

    def summary(self, aligner: str, condition: str) -> Summary:
        """Return what the records of one aligner under one condition say together."""
        return self._summaries[aligner, condition]

    def gated(self, aligner: str) -> float:
        """Return the mean error of what the pipeline makes of the answers, px; NaN where there are no pairs.

        It leaves a pair as it is where it does not believe an answer. Over rendered pairs, or what is added to
        pairs as recorded.
        """
        taken = [
            record.known_px if record.is_believed else record.nothing_px
            for record in self.records
            if record.aligner == aligner
            and math.isfinite(record.known_px)
            and (self.parallax or record.condition == AS_RECORDED)
        ]
        return float(np.mean(taken)) if taken else math.nan

    def at_distance(self, aligner: str, span: Span = WHOLE, place: str = EVERYWHERE) -> ParallaxSummary:
        """Return how far an aligner is off at some distance, over all rendered pairs."""
        key = (aligner, place, *span)
        return ParallaxSummary.of([r for r in self.parallax if (r.aligner, r.place, r.near_m, r.far_m) == key])

    def fused_quality(self, aligner: str, condition: str, metric: str) -> QualitySummary:
        """Return what one metric says of the fused images of deformed pairs, over all of them."""
        return QualitySummary.of(self._qualities.get((aligner, condition, metric), []))

    @cached_property
    def _qualities(self) -> dict[tuple[str, str, str], list[QualityRecord]]:
        found: dict[tuple[str, str, str], list[QualityRecord]] = {}
        for record in self.quality:
            found.setdefault((record.aligner, record.condition, record.metric), []).append(record)
        return found

    @cached_property
    def _summaries(self) -> dict[tuple[str, str], Summary]:
        names = [(aligner.name, condition) for aligner in self.aligners for condition in self.conditions]
        return {name: self._summarised(*name) for name in names}

    def _summarised(self, aligner: str, condition: str) -> Summary:
        records = [record for record in self.select(aligner, condition) if math.isfinite(record.known_px)]
        if not records:
            return Summary(0, *[math.nan] * 8, believed=0, failures=0)
        known = np.array([record.known_px for record in records])
        label = np.array([record.label_px for record in records])
        interval = mean_interval(self._strata(records))
        return Summary(
            images=len(records),
            known_mean=float(known.mean()),
            known_low=interval.low,
            known_high=interval.high,
            known_median=float(np.median(known)),
            far=float((known > FAR_PX).mean()),
            label_mean=float(label.mean()),
            label_median=float(np.median(label)),
            nothing_mean=float(np.mean([record.nothing_px for record in records])),
            believed=sum(record.is_believed for record in records),
            failures=sum(record.has_failed for record in records),
        )

    def overall(self, aligner: str) -> float:
        """Return the mean known part error over all deformations, each counting alike; NaN where there is none."""
        means = [self.summary(aligner, name).known_mean for name in self.conditions if name != AS_RECORDED]
        return float(np.mean(means)) if means else math.nan

    def times_ms(self, aligner: str) -> dict[str, float]:
        """Return mean, ``p50`` and ``p95`` of the milliseconds of a call; empty where there are none."""
        return time_figures([r.ms for r in self.records if r.aligner == aligner and math.isfinite(r.ms)])

    def _strata(self, records: Sequence[AlignmentRecord]) -> list[Stratum]:
        by_source: dict[str, list[float]] = {}
        for record in records:
            by_source.setdefault(record.source, []).append(record.known_px)
        return [Stratum(np.array(values), name in self.sequences) for name, values in by_source.items()]

    def to_csv(self) -> str:
        """Return one line a pair, aligner and condition; equal evaluations give equal bytes."""
        return _csv([each.name for each in fields(AlignmentRecord) if each.name != "ms"], self.records)

    def parallax_csv(self) -> str:
        """Return one line a rendered pair, aligner and span of distances; equal evaluations give equal bytes."""
        return _csv([each.name for each in fields(ParallaxRecord)], self.parallax)

    def quality_csv(self) -> str:
        """Return one line a deformed pair, aligner and metric; equal evaluations give equal bytes."""
        return _csv([each.name for each in fields(QualityRecord)], self.quality)

    def to_json(self) -> str:
        """Return everything but the single records and the times; equal evaluations give equal bytes."""
        summaries = {
            aligner.name: {name: without_nan(asdict(self.summary(aligner.name, name))) for name in self.conditions}
            for aligner in self.aligners
        }
        content: dict[str, object] = {
            "format": FORMAT,
            "facts": dict(self.facts),
            "far_px": FAR_PX,
            "aligners": [asdict(aligner) for aligner in self.aligners],
            "conditions": list(self.conditions),
            "summaries": summaries,
            "overall_known_px": without_nan({a.name: self.overall(a.name) for a in self.aligners}),
            "problems": list(self.problems),
        }
        if self.parallax:
            content["parallax"] = {aligner.name: self._parallax_json(aligner.name) for aligner in self.aligners}
        if self.metrics:
            names = [TRUTH, *(aligner.name for aligner in self.aligners)]
            content["fused_quality"] = {name: self._quality_json(name) for name in names}
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def _quality_json(self, aligner: str) -> dict[str, object]:
        return {
            name: {key: without_nan(asdict(self.fused_quality(aligner, name, key))) for key in self.metrics}
            for name in self.conditions
            if name != AS_RECORDED
        }

    def _parallax_json(self, aligner: str) -> dict[str, object]:
        return {
            place: {
                span.name: without_nan(asdict(self.at_distance(aligner, span, place))) for span in (WHOLE, *TABLE)
            }
            for place in (EVERYWHERE, OUTLINES)
        }

    def times_json(self) -> str:
        """Return the times, which differ at every run."""
        times = {aligner.name: self.times_ms(aligner.name) for aligner in self.aligners}
        return json.dumps({"format": FORMAT, "ms": times}, indent=1) + "\n"


def _csv(names: Sequence[str], records: Sequence[AlignmentRecord | ParallaxRecord | QualityRecord]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for record in records:
        writer.writerow([_cell(getattr(record, name)) for name in names])
    return text.getvalue()


def _cell(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return value
