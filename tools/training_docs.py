"""Write the tables in ``docs/training.md`` from the recipes and the shipped models themselves: ``make docs``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fusion_ros.cards import CARD, read_card
from fusion_ros.metrics import DEFAULT_COLUMNS
from fusion_ros.settings import markdown_table
from training.publish import OURS
from training.recipes import RECIPES
from training.recipes.own_terms import OwnTerms

__all__ = ["PAGE", "render", "results", "tables"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "training.md"
_SHARED = "shared"
AUTHORS = "authors' weights"


def tables() -> Mapping[str, str]:
    """Return the tables by name: ``shared`` has what all recipes share, a recipe's what it adds or changes."""
    shared = markdown_table(OwnTerms)
    head, known = shared.splitlines()[:2], set(shared.splitlines())
    own = {}
    for name, recipe in RECIPES.items():
        rows = [row for row in markdown_table(recipe.Settings).splitlines() if row not in known]
        own[name] = "\n".join([*head, *rows]) + "\n"
    return {_SHARED: shared, **own}


def results(models: Path = ROOT / "models") -> str:
    """Return the metrics on the cards of the shipped models, one table a test set, ours beside the authors'.

    Figures that are at least as good as the authors' are bold.
    """
    rows: dict[str, list[str]] = {}
    for card in map(read_card, sorted(path.parent for path in models.glob(f"*/{CARD}"))):
        for name, measured in card.metrics.items():
            ours, theirs = measured[OURS], [label for label in measured if label != OURS]
            for label in theirs:
                rows.setdefault(name, []).append(_row(f"`{card.name}`, {label}", measured[label]))
            rows.setdefault(name, []).append(_row(f"`{card.name}`, {OURS}", ours, measured.get(AUTHORS)))
    metrics = [column.metric for column in DEFAULT_COLUMNS]
    arrows = " | ".join(f"{metric.name} {'↑' if metric.higher_is_better else '↓'}" for metric in metrics)
    head = f"| | {arrows} |\n|---{'|---:' * len(DEFAULT_COLUMNS)}|\n"
    return "\n".join(f"{name}:\n\n{head}" + "".join(lines) for name, lines in rows.items())


def _row(name: str, values: Mapping[str, float], theirs: Mapping[str, float] | None = None) -> str:
    cells = []
    for column in DEFAULT_COLUMNS:
        metric = column.metric
        text = f"{values[metric.name]:.4g}"
        if theirs is not None:
            gain = values[metric.name] - theirs[metric.name]
            text = f"**{text}**" if (gain if metric.higher_is_better else -gain) >= 0 else text
        cells.append(text)
    return f"| {name} | {' | '.join(cells)} |\n"


def render(page: str) -> str:
    """Return the page with the tables as they are now.

    Raises:
        ValueError: The page does not have exactly one place for a table.
    """
    for name, table in tables().items():
        page = _filled(page, f"<!-- settings:{name} -->", table, "<!-- /settings -->")
    return _filled(page, "<!-- results -->", results(), "<!-- /results -->")


def _filled(page: str, begin: str, content: str, end: str) -> str:
    place = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    page, count = place.subn(lambda _: f"{begin}\n{content}{end}", page)
    if count != 1:
        raise ValueError(f"expected one {begin} with {end} after it in the page, found {count}; put it in")
    return page


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
