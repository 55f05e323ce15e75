"""An evaluation as tables: one row a frame as CSV, and everything at a glance as Markdown."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence

from ..metrics import Column
from .ranking import Ranks, basis, ranks, verdict
from .results import AS_RECORDED, RESIDUAL, ConditionFacts, Evaluation, SourceFacts, by_severity

__all__ = [
    "arrow",
    "dropped_in_words",
    "figure",
    "frames_csv",
    "in_one_line",
    "markdown",
    "markdown_table",
    "mean_rank",
    "offset_in_words",
    "ranks",
    "sensors_in_words",
    "stages_of",
]


_DIGITS = 4  # significant, of the largest value in a column
_TOTAL = "total"


def frames_csv(evaluation: Evaluation) -> str:
    """Return one line a frame, method and condition, as CSV; equal evaluations give equal bytes.

    Floats have the digits that bring the same float back; an undefined value is empty.
    """
    keys = [column.key for column in evaluation.columns]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "frame", "stamp_ns", "method", "condition", "offset_ms", RESIDUAL, *keys])
    for frame in evaluation.frames:
        values = (frame.values.get(key, math.nan) for key in keys)
        name = (frame.source, frame.frame, frame.stamp_ns, frame.method, frame.condition)
        residual = frame.figure(RESIDUAL)
        writer.writerow([*name, *map(_exact, (frame.offset_ms, residual, *values))])
    return text.getvalue()


def markdown(evaluation: Evaluation) -> str:
    """Return the evaluation as a document in Markdown.

    A table of methods and metrics for each condition (means; the best is bold, the second best underlined),
    then each metric by method and condition, the pairing, the times, and how it was made.
    """
    parts = ["# Evaluation", verdict(evaluation)]
    found = {condition.name: ranks(evaluation, condition.name) for condition in evaluation.conditions}
    for condition in by_severity(evaluation.conditions):
        here = found[condition.name]
        parts += [f"## {_title(condition)}", _table_of_condition(evaluation, condition, here)]
        parts += [sentence for sentence in (basis(here),) if sentence]
    parts.append(
        "Means over frames; **best**, <u>second best</u>; ↑ more is better, ↓ less is better; †n: the metric is "
        "undefined in n frames, which the mean leaves out."
    )
    if len(evaluation.conditions) > 1:
        parts.append("## Under stress")
        for name, key, higher in _stress_columns(evaluation):
            parts += [f"### {name} {arrow(higher)}", _table_of_stress(evaluation, key, found)]
    parts += ["## Pairing", _table_of_pairing(evaluation.sources)]
    if evaluation.problems:
        parts += ["## Problems", "\n".join(f"- {in_one_line(problem)}" for problem in evaluation.problems)]
    if evaluation.stage_ms:
        parts += ["## Time, mean ms a frame", _table_of_times(evaluation)]
    parts += ["## How this was made", *_origin(evaluation)]
    return "\n\n".join(parts) + "\n"


def arrow(higher_is_better: bool) -> str:
    """Return the sign of a metric's direction."""
    return "↑" if higher_is_better else "↓"


def figure(value: float, beside: Iterable[float]) -> str:
    """Return a value with as many decimals as give the largest of those beside it four digits; "-" for NaN."""
    if math.isnan(value):
        return "-"
    largest = max((abs(v) for v in beside if math.isfinite(v)), default=0.0)
    whole = math.floor(math.log10(largest)) + 1 if largest > 0.0 else 1  # negative for 0.01 and less
    return f"{value:.{max(0, _DIGITS - whole)}f}"


def mean_rank(found: Ranks, method: str) -> str:
    """Return a method's mean rank with one decimal; "-" where it has none."""
    return f"{found.mean[method]:.1f}" if method in found.ranked else "-"


def stages_of(evaluation: Evaluation) -> list[str]:
    """Return the stages of all methods in order, their sum left out."""
    stages = (stage for found in evaluation.stage_ms.values() for stage in found)
    return [stage for stage in dict.fromkeys(stages) if stage != _TOTAL]


def sensors_in_words(counts: Mapping[str, int]) -> str:
    """Return such as ``120 rgb, 118 thermal``."""
    return ", ".join(f"{number} {sensor}" for sensor, number in counts.items()) or "-"


def dropped_in_words(dropped: Mapping[str, Mapping[str, int]]) -> str:
    """Return such as ``thermal: 3 late, 1 unmatched``."""
    found = (f"{sensor}: {sensors_in_words(reasons)}" for sensor, reasons in dropped.items() if reasons)
    return "; ".join(found) or "none"


def offset_in_words(source: SourceFacts) -> str:
    """Return such as ``mean 1.2, p95 4.0``."""
    return ", ".join(f"{name} {value:.1f}" for name, value in source.offset_ms.items()) or "-"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Return a table, the first ``texts`` columns flush left, the others right; cells are Markdown already."""
    lines = [head, [*["---"] * texts, *["---:"] * (len(head) - texts)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def in_one_line(text: str) -> str:
    """Return a text of unknown contents as one line that Markdown shows as it is, in a table too."""
    line = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#~" else sign for sign in line)


def _table_of_condition(evaluation: Evaluation, condition: ConditionFacts, found: Ranks) -> str:
    head = ["method", *(_heading(column) for column in evaluation.columns), "mean rank", "frames"]
    columns = [_cells(evaluation, column.key, condition.name, found) for column in evaluation.columns]
    if condition.is_misalignment:
        head.insert(1, "residual ↓<br>`px`")
        columns.insert(0, _cells(evaluation, RESIDUAL, condition.name))
    rows = []
    for at, method in enumerate(evaluation.methods):
        count = sum(1 for _ in evaluation.select(method.name, condition.name))
        cells = [column[at] for column in columns]
        rows.append([_code(method.name), *cells, mean_rank(found, method.name), str(count)])
    return markdown_table(head, rows)


def _cells(evaluation: Evaluation, key: str, condition: str, found: Ranks | None = None) -> list[str]:
    """Return a column's cells, one a method."""
    methods = [method.name for method in evaluation.methods]
    means = [evaluation.mean(key, method, condition) for method in methods]
    cells = []
    for method, mean in zip(methods, means, strict=True):
        text = figure(mean, means)
        if found is not None and method in found.best[key]:
            text = f"**{text}**"
        elif found is not None and method in found.second[key]:
            text = f"<u>{text}</u>"
        undefined = evaluation.undefined(key, method, condition)
        cells.append(f"{text} †{undefined}" if undefined and key != RESIDUAL else text)
    return cells


def _stress_columns(evaluation: Evaluation) -> list[tuple[str, str, bool]]:
    """Return name, key and direction of what is shown under stress."""
    columns = [(c.metric.name, c.key, c.metric.higher_is_better) for c in evaluation.columns]
    has_residual = any(condition.is_misalignment for condition in evaluation.conditions)
    return [("residual, px", RESIDUAL, False), *columns] if has_residual else columns


def _table_of_stress(evaluation: Evaluation, key: str, found: Mapping[str, Ranks]) -> str:
    is_residual = key == RESIDUAL
    conditions = [c for c in by_severity(evaluation.conditions) if c.is_misalignment or not is_residual]
    columns = [_cells(evaluation, key, c.name, None if is_residual else found[c.name]) for c in conditions]
    rows = [[_code(m.name), *(column[at] for column in columns)] for at, m in enumerate(evaluation.methods)]
    return markdown_table(["method", *(in_one_line(c.name) for c in conditions)], rows)


def _table_of_pairing(sources: Sequence[SourceFacts]) -> str:
    head = ["source", "kind", "received", "paired", "dropped", "thermal minus RGB, ms"]
    rows = [
        [_code(s.name), s.kind, sensors_in_words(s.received), str(s.paired), dropped_in_words(s.dropped),
         offset_in_words(s)]
        for s in sources
    ]  # fmt: skip
    return markdown_table(head, rows, texts=len(head))


def _table_of_times(evaluation: Evaluation) -> str:
    stages = [*stages_of(evaluation), _TOTAL]
    rows = []
    for method, found in evaluation.stage_ms.items():
        means = [f"{found[stage]['mean']:.2f}" if stage in found else "-" for stage in stages]
        rows.append([_code(method), *means, f"{found[_TOTAL]['p95']:.2f}" if _TOTAL in found else "-"])
    return markdown_table(["method", *stages, "total, p95"], rows)


def _origin(evaluation: Evaluation) -> list[str]:
    facts = [f"- {in_one_line(name)}: {_code(value)}" for name, value in evaluation.facts.items()]
    methods = [
        f"- {_code(m.name)}: {in_one_line(m.description) or 'no description'}"
        + (f", {m.parameters:,} weights" if m.parameters is not None else "")
        + (f", sha256 `{m.weights_sha256}`" if m.weights_sha256 else "")
        for m in evaluation.methods
    ]
    metrics = [
        f"- **{c.metric.name}** {arrow(c.metric.higher_is_better)} `{c.variant.name}`, {c.metric.title}: "
        f"{in_one_line(c.variant.help)} Source: {in_one_line(c.metric.source)}."
        for c in evaluation.columns
    ]
    return ["\n".join(block) for block in (facts, methods, metrics) if block]


def _heading(column: Column) -> str:
    return f"{column.metric.name} {arrow(column.metric.higher_is_better)}<br>`{column.variant.name}`"


def _title(condition: ConditionFacts) -> str:
    return "As recorded" if condition.name == AS_RECORDED else in_one_line(condition.name)


def _code(text: str) -> str:
    """Return a name in code style, also inside a table."""
    return "`" + " ".join(text.split()).replace("`", "'").replace("|", "\\|") + "`"


def _exact(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
