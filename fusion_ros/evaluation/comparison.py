"""Two evaluations side by side: what changed, and what of it could be chance.

The same frames are compared with themselves, so what makes one scene harder than another falls out of the
difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import FusionError, SettingsError, shortened
from ..metrics import Column
from .bootstrap import Stratum, mean_interval
from .results import RESIDUAL, Evaluation, FrameRecord, MethodFacts, SourceFacts
from .tables import arrow, figure, in_one_line, markdown_table

__all__ = ["Comparison", "Difference", "compare_evaluations"]

FrameKey = tuple[str, str, str]  # source, frame, condition


@dataclass(frozen=True)
class Difference:
    """One column of one method under one condition, in both evaluations.

    Attributes:
        methods: Name in the first and in the second evaluation.
        condition: Name of the condition.
        key: Column key, or ``residual_px``.
        higher_is_better: Direction of a better image.
        first: Mean in the first evaluation, over the frames compared.
        second: The same of the second.
        mean: Mean of second minus first.
        low: Lower end of its interval; NaN where there are too few frames to say.
        high: Upper end.
        p_value: The smallest error level at which the interval excludes 0.
        frames: Number of frames compared.
        undefined: Frames in both evaluations that have no value in one of them, and were left out.
        share_better: Share of the frames in which the second is better; equal ones are not.
        is_confirmed: It still excludes 0 after Holm's correction for all columns of this method and condition.
    """

    methods: tuple[str, str]
    condition: str
    key: str
    higher_is_better: bool
    first: float
    second: float
    mean: float
    low: float
    high: float
    p_value: float
    frames: int
    undefined: int
    share_better: float
    is_confirmed: bool = False

    @property
    def excludes_zero(self) -> bool:
        """The interval does not hold 0."""
        return self.low > 0.0 or self.high < 0.0

    @property
    def verdict(self) -> str:
        """``better`` or ``worse``, with a question mark where Holm's correction takes it back; else ``open``."""
        if not self.excludes_zero:
            return "open"
        word = "better" if (self.mean > 0.0) == self.higher_is_better else "worse"
        return word if self.is_confirmed else f"{word}?"


@dataclass(frozen=True)
class Comparison:
    """Second evaluation minus first.

    Attributes:
        confidence: Of the intervals.
        differences: By method, condition and column.
        only_first: Column keys that only the first has: another variant is another metric.
        only_second: The same of the second.
        unmatched: Methods to names of the frames that only the first and only the second has.
        methods_only_first: Methods that were not compared, because the second has none of the name.
        methods_only_second: The same of the second.
    """

    confidence: float
    differences: tuple[Difference, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    unmatched: Mapping[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]]
    methods_only_first: tuple[str, ...]
    methods_only_second: tuple[str, ...]

    def to_text(self) -> str:
        """Return all of it for a terminal."""
        blocks = []
        for title, rows in self._groups():
            table = [_HEAD, *(_row(row, rows) for row in rows)]
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            lines = (
                "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
                for line in table
            )
            blocks.append("\n".join([title, _summary(rows), *lines]))
        return "\n\n".join([*blocks, "\n".join(self._notes())]) + "\n"

    def to_markdown(self) -> str:
        """Return all of it as Markdown."""
        blocks = ["# Comparison"]
        for title, rows in self._groups():
            table = markdown_table(
                _HEAD, ([f"`{cells[0]}`", *cells[1:]] for cells in (_row(r, rows) for r in rows))
            )
            blocks += [f"## {in_one_line(title)}", _summary(rows), table]
        return "\n\n".join([*blocks, "\n".join(f"- {in_one_line(note)}" for note in self._notes())]) + "\n"

    def _groups(self) -> list[tuple[str, list[Difference]]]:
        groups: dict[str, list[Difference]] = {}
        for row in self.differences:
            name = row.methods[0] if row.methods[0] == row.methods[1] else " -> ".join(row.methods)
            groups.setdefault(f"{name}, {row.condition}", []).append(row)
        return list(groups.items())

    def _notes(self) -> list[str]:
        notes = [
            f"interval: holds the true mean difference in {self.confidence:.0%} of such comparisons; bootstrap "
            "over frames, in blocks of neighbours in sequences, each source on its own.",
            "better?, worse?: the interval excludes 0, but not after Holm's correction for the number of metrics "
            "tested in the same table. open: the interval holds 0.",
        ]
        for (first, second), (left, right) in self.unmatched.items():
            for name, only, frames in ((first, "first", left), (second, "second", right)):
                if frames:
                    notes.append(
                        f"{name}: {len(frames)} frames only in the {only} evaluation: {shortened(frames)}"
                    )
        for what, first, second in (
            ("metrics", self.only_first, self.only_second),
            ("methods", self.methods_only_first, self.methods_only_second),
        ):
            for only, names in (("first", first), ("second", second)):
                if names:
                    notes.append(f"{what} only in the {only} evaluation, not compared: {', '.join(names)}")
        return notes


def compare_evaluations(
    first: Evaluation, second: Evaluation, *, confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """Compare two evaluations frame by frame.

    Methods of the same name are compared; where each evaluation has exactly one, those two. Frames are the
    same where source, name and condition are. Only columns that both have are compared: a variant is never
    set against another.

    Args:
        first: What to compare with.
        second: What may be better.
        confidence: Of the intervals, see :func:`~fusion_ros.evaluation.bootstrap.mean_interval`.
        seed: Of the resampling.

    Raises:
        FusionError: No method, no column or no frame is in both.
        SettingsError: The confidence is not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise SettingsError(f"confidence: expected a number between 0 and 1, got {confidence!r}")
    pairs = _method_pairs(first, second)
    columns = _shared_columns(first, second)
    differences: list[Difference] = []
    unmatched = {}
    for pair in pairs:
        left, right = _by_key(first, pair[0]), _by_key(second, pair[1])
        unmatched[pair] = tuple(
            tuple(_name(key) for key in a if key not in b) for a, b in ((left, right), (right, left))
        )
        matched = [(left[key], right[key]) for key in left if key in right]
        for condition in dict.fromkeys(frame.condition for frame, _ in matched):
            frames = [both for both in matched if both[0].condition == condition]
            found = [_difference(first, pair, key, up, frames, confidence, seed) for key, up in columns]
            differences += _after_holm([row for row in found if row is not None], 1.0 - confidence)
    if not differences:
        raise FusionError(
            "no frame is in both evaluations: a frame is the same where its source, name and condition are; "
            f"sources are {_names(first.sources)} in the first and {_names(second.sources)} in the second"
        )
    ours, theirs = ([column.key for column in evaluation.columns] for evaluation in (first, second))
    return Comparison(
        confidence,
        tuple(differences),
        tuple(key for key in ours if key not in theirs),
        tuple(key for key in theirs if key not in ours),
        unmatched,
        tuple(m.name for m in first.methods if m.name not in {a for a, _ in pairs}),
        tuple(m.name for m in second.methods if m.name not in {b for _, b in pairs}),
    )


def _method_pairs(first: Evaluation, second: Evaluation) -> list[tuple[str, str]]:
    others = {method.name for method in second.methods}
    pairs = [(method.name, method.name) for method in first.methods if method.name in others]
    if not pairs and len(first.methods) == len(second.methods) == 1:
        pairs = [(first.methods[0].name, second.methods[0].name)]
    if not pairs:
        raise FusionError(
            "expected a method that is in both evaluations, or one method in each; got "
            f"{_names(first.methods)} and {_names(second.methods)}"
        )
    return pairs


def _shared_columns(first: Evaluation, second: Evaluation) -> list[tuple[str, bool]]:
    others = {column.key for column in second.columns}
    shared = [(c.key, c.metric.higher_is_better) for c in first.columns if c.key in others]
    if not shared:
        raise FusionError(
            "expected a metric, in one variant, that is in both evaluations; got "
            f"{_keys(first.columns)} and {_keys(second.columns)}"
        )
    return [(RESIDUAL, False), *shared]


def _by_key(evaluation: Evaluation, method: str) -> dict[FrameKey, FrameRecord]:
    return {(f.source, f.frame, f.condition): f for f in evaluation.frames if f.method == method}


def _difference(
    evaluation: Evaluation,
    methods: tuple[str, str],
    key: str,
    higher_is_better: bool,
    frames: Sequence[tuple[FrameRecord, FrameRecord]],
    confidence: float,
    seed: int,
) -> Difference | None:
    """Return the difference in one column; None for a residual where no misalignment was applied."""
    values = np.array([[frame.figure(key) for frame in both] for both in frames])
    defined = np.isfinite(values).all(axis=1)
    if key == RESIDUAL and not defined.any():
        return None
    delta = values[:, 1] - values[:, 0]
    origin = np.array([both[0].source for both in frames])
    strata = [
        Stratum(delta[defined & (origin == source.name)], source.is_sequence) for source in evaluation.sources
    ]
    interval = mean_interval(strata, confidence=confidence, seed=seed)
    kept, count = delta[defined], int(defined.sum())
    means = values[defined].mean(axis=0) if count else np.full(2, math.nan)
    return Difference(
        methods,
        frames[0][0].condition,
        key,
        higher_is_better,
        first=float(means[0]),
        second=float(means[1]),
        mean=float(kept.mean()) if count else math.nan,
        low=interval.low,
        high=interval.high,
        p_value=interval.p_value,
        frames=count,
        undefined=len(frames) - count,
        share_better=float(np.mean(kept > 0.0 if higher_is_better else kept < 0.0)) if count else math.nan,
    )


def _after_holm(rows: Sequence[Difference], level: float) -> list[Difference]:
    """Mark what stands after the correction of Holm, Scandinavian J. Statistics 6, 1979.

    The smallest of m p-values is held against ``level / m``, the next against ``level / (m - 1)``, and so on
    until the first that is larger.
    """
    tested = sorted((row.p_value, at) for at, row in enumerate(rows) if not math.isnan(row.p_value))
    confirmed = set()
    for place, (p_value, at) in enumerate(tested):
        if p_value > level / (len(tested) - place):
            break
        confirmed.add(at)
    return [replace(row, is_confirmed=at in confirmed and row.excludes_zero) for at, row in enumerate(rows)]


_HEAD = ("metric", "first", "second", "difference", "interval", "verdict", "better in", "frames")


def _row(row: Difference, beside: Sequence[Difference]) -> list[str]:
    ends = [abs(row.first), abs(row.second)]
    spread = [row.low, row.high, row.mean]
    few = math.isnan(row.low)
    return [
        f"{row.key} {arrow(row.higher_is_better)}",
        figure(row.first, ends),
        figure(row.second, ends),
        _signed(row.mean, spread),
        "too few frames" if few else f"{_signed(row.low, spread)} to {_signed(row.high, spread)}",
        row.verdict,
        "-" if math.isnan(row.share_better) else f"{row.share_better:.0%}",
        f"{row.frames}" + (f" (undefined: {row.undefined})" if row.undefined else ""),
    ]


def _signed(value: float, beside: Sequence[float]) -> str:
    text = figure(value, beside)
    return f"+{text}" if value > 0.0 else text


def _summary(rows: Sequence[Difference]) -> str:
    tested = [row for row in rows if not math.isnan(row.p_value)]
    words = {word: sum(row.verdict == word for row in tested) for word in ("better", "worse", "better?", "worse?")}
    found = ", ".join(f"{number} {word}" for word, number in words.items() if number) or "no difference shown"
    return f"{len(tested)} metrics tested: {found}"


def _name(key: FrameKey) -> str:
    return " / ".join(key)


def _names(items: Sequence[MethodFacts] | Sequence[SourceFacts]) -> str:
    return ", ".join(item.name for item in items) or "none"


def _keys(columns: Sequence[Column]) -> str:
    return ", ".join(column.key for column in columns) or "none"
