"""Who is ahead: places of methods, the frames that are worth a look, and both in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..metrics import Column
from .results import AS_RECORDED, Evaluation, FrameRecord

__all__ = ["Ranks", "basis", "places", "ranks", "verdict", "worst_and_best"]

_NEIGHBOURHOOD = 10  # a sequence's frames within a tenth of it show the same scene


@dataclass(frozen=True)
class Ranks:
    """Places of the methods under one condition, by their means over the frames that all of them have.

    Means over different frames say more about the frames than about the methods. A method without any frame has no
    place (NaN) and leaves the others theirs; where no frame is common to the others, none has a place.

    Attributes:
        condition: Its name.
        places: Column key to method to place; 1.0 is the best. Equal methods share the mean of their places,
            and a method without any value takes the last.
        best: Column key to the methods with the best mean; several where they are equal, none where fewer
            than two methods have a value.
        second: The same of the next best mean.
        mean: Method to its mean place over the columns; NaN where it has none.
        common: Number of the frames that the places are made from.
        own: Method to the number of its own frames.
    """

    condition: str
    places: dict[str, dict[str, float]]
    best: dict[str, frozenset[str]]
    second: dict[str, frozenset[str]]
    mean: dict[str, float]
    common: int
    own: dict[str, int]

    @property
    def ranked(self) -> list[str]:
        """Names of the methods that have places."""
        return [method for method, mean in self.mean.items() if not np.isnan(mean)]

    def led_by(self, method: str) -> list[str]:
        """Return the keys of the columns in which a method has the best mean."""
        return [key for key, methods in self.best.items() if method in methods]


def ranks(evaluation: Evaluation, condition: str = AS_RECORDED) -> Ranks:
    """Return the places of the methods in each column, each in its metric's direction."""
    frames = {m.name: list(evaluation.select(m.name, condition)) for m in evaluation.methods}
    own = {method: len(of_method) for method, of_method in frames.items()}
    named = [{(f.source, f.frame) for f in of_method} for of_method in frames.values() if of_method]
    common = set.intersection(*named) if named else set()
    compared = {
        method: [f for f in of_method if (f.source, f.frame) in common]
        for method, of_method in frames.items()
        if of_method and common
    }
    in_column, best, second = {}, {}, {}
    for column in evaluation.columns:
        means = [_mean([f.figure(column.key) for f in of_method]) for of_method in compared.values()]
        higher = column.metric.higher_is_better
        found = dict(zip(compared, places(means, higher).tolist(), strict=True))
        in_column[column.key] = {method: found.get(method, float("nan")) for method in frames}
        defined = sorted({mean for mean in means if not np.isnan(mean)}, reverse=higher)
        is_contest = np.count_nonzero(~np.isnan(means)) > 1
        for at, chosen in enumerate((best, second)):
            wanted = defined[at] if is_contest and len(defined) > at else None
            chosen[column.key] = frozenset(m for m, mean in zip(compared, means, strict=True) if mean == wanted)
    mean = {m: float(np.mean([p[m] for p in in_column.values()])) if in_column else float("nan") for m in frames}
    return Ranks(condition, in_column, best, second, mean, len(common), own)


def basis(found: Ranks) -> str:
    """Return in words over which frames the methods are ranked; empty where all of them have the same.

    Names of methods stand between backticks.
    """
    if not found.places:
        return ""
    absent = [_quoted(method) for method, count in found.own.items() if count == 0]
    counts = [count for count in found.own.values() if count]
    if not counts:
        return "There are no frames, so the methods are not ranked."
    low, high = min(counts), max(counts)
    text = [f"{_listed(absent)} {'has' if len(absent) == 1 else 'have'} no frames and no rank."] if absent else []
    methods = "all other methods" if absent else "all methods"
    own = f"means are over each method's own frames, {low if low == high else f'{low} to {high}'} of them."
    if not found.common:
        text.append(f"There is no frame that {methods} have, so they are not ranked; {own}")
    elif found.common < high:
        text.append(f"Ranked over the {_count(found.common, 'frame')} that {methods} have; {own}")
    return " ".join(text)


def places(values: Sequence[float], higher_is_better: bool) -> np.ndarray:
    """Return the place of each value, 1.0 for the best; equals share the mean of theirs, NaN is the last."""
    array = np.asarray(values, np.float64)
    loss = np.where(np.isnan(array), np.inf, -array if higher_is_better else array)
    _, inverse, counts = np.unique(loss, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2.0)[inverse.reshape(-1)]


def worst_and_best(
    evaluation: Evaluation, method: str, count: int = 3
) -> tuple[list[FrameRecord], list[FrameRecord]]:
    """Return the frames in which a method did worst and best, nothing having been done to the sources.

    A frame is judged by its place among all the method's frames, averaged over the default variants of the
    metrics (over all columns where none is one) that have a value for it. Neighbours in a
    sequence look alike: of frames less than a tenth of it apart only one is taken.

    Args:
        evaluation: Where to look.
        method: Name of the method.
        count: How many of each; fewer where there are not as many. No frame is in both lists.

    Returns:
        The worst, worst first, and the best, best first.
    """
    frames = list(evaluation.select(method))
    if not frames or not evaluation.columns:
        return [], []
    default = [c for c in evaluation.columns if c.variant is c.metric.default] or list(evaluation.columns)
    found = np.ma.masked_invalid([_places_of(frames, column) for column in default])
    order = np.argsort(found.mean(axis=0).filled(np.inf), kind="stable")
    half = (len(frames) + 1) // 2
    best = _apart(evaluation, frames, order[:half].tolist(), count)
    worst = _apart(evaluation, frames, order[half:][::-1].tolist(), count)
    return [frames[index] for index in worst], [frames[index] for index in best]


def _places_of(frames: Sequence[FrameRecord], column: Column) -> np.ndarray:
    """Return the place of each frame among the others; NaN where it has no value."""
    values = np.array([frame.values.get(column.key, float("nan")) for frame in frames])
    return np.where(np.isnan(values), np.nan, places(values, column.metric.higher_is_better))


def _apart(evaluation: Evaluation, frames: Sequence[FrameRecord], order: Sequence[int], count: int) -> list[int]:
    """Return the first ``count`` of ``order`` that are no neighbours of one another in a sequence."""
    sequences = {source.name for source in evaluation.sources if source.is_sequence}
    length = {name: sum(frame.source == name for frame in frames) for name in sequences}
    chosen: list[int] = []
    for index in order:
        gap = length.get(frames[index].source, 0) / _NEIGHBOURHOOD
        near = (abs(index - other) < gap for other in chosen if frames[other].source == frames[index].source)
        if len(chosen) < count and not any(near):
            chosen.append(index)
    return chosen


def verdict(evaluation: Evaluation) -> str:
    """Return in a few sentences of plain text who is ahead; names of methods stand between backticks."""
    frames = len({(frame.source, frame.frame) for frame in evaluation.frames})
    text = [
        f"{_count(len(evaluation.methods), 'method')} on {_count(frames, 'pair')} from "
        f"{_count(len(evaluation.sources), 'source')}, judged by {_count(len(evaluation.columns), 'metric')}."
    ]
    if len(evaluation.methods) < 2 or not evaluation.columns:
        return " ".join([*text, "There is nothing to rank."])
    found = ranks(evaluation)
    text += [sentence for sentence in (basis(found),) if sentence]
    if len(found.ranked) > 1:
        text += [*_led(evaluation, found), *_by_mean_rank(evaluation, found)]
        text.append("Ranks say who is ahead, not by how much.")
    return " ".join(text)


def _led(evaluation: Evaluation, found: Ranks) -> list[str]:
    """Return who has the best mean in which metrics; nothing where no metric has a best."""
    names = {column.key: column.metric.name for column in evaluation.columns}
    led = sorted(((method, found.led_by(method)) for method in found.ranked), key=lambda item: -len(item[1]))
    leaders = [(name, keys) for name, keys in led if keys]
    if not leaders:
        return []
    if len(leaders[0][1]) == len(names):
        equals = [name for name, keys in leaders if len(keys) == len(names)]
        return [f"{_listed([_quoted(m) for m in equals])} {_has(equals)} the best mean in every metric."]
    parts = [
        f"{_quoted(name)} {'has the best mean ' if at == 0 else ''}in {len(keys)}"
        f"{f' of {len(names)}' if at == 0 else ''} ({', '.join(names[key] for key in keys)})"
        for at, (name, keys) in enumerate(leaders)
    ]
    return [f"{_listed(parts)}."]


def _by_mean_rank(evaluation: Evaluation, found: Ranks) -> list[str]:
    """Return who comes first by mean rank, as recorded and in the altered conditions."""
    order = sorted(found.ranked, key=found.mean.__getitem__)
    first = [method for method in order if _is_first(found, method)]
    text = f"By mean rank over the metrics {_listed([_quoted(m) for m in first])}"
    if len(first) > 1:
        text += f" come first together ({found.mean[first[0]]:.1f})"
    else:
        text += f" comes first ({found.mean[first[0]]:.1f})"
    if len(order) > len(first):
        rank = found.mean[order[len(first)]]
        following = [_quoted(method) for method in order if found.mean[method] == rank]
        text += f", before {_listed(following)} ({rank:.1f})"
    altered = [ranks(evaluation, c.name) for c in evaluation.conditions if c.name != AS_RECORDED]
    if not altered:
        return [f"{text}."]
    held = [f"{_quoted(m)} is first by mean rank in {sum(_is_first(of, m) for of in altered)}" for m in first]
    return [f"{text}.", f"{_listed(held)} of {_count(len(altered), 'altered condition')}."]


def _is_first(found: Ranks, method: str) -> bool:
    """Whether no other method has a better mean place; false for one without a place."""
    return found.mean[method] == min((found.mean[m] for m in found.ranked), default=None)


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are defined, NaN where none is."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "'") + "`"


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "share"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
