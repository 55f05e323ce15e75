"""What is compared in tables, charts and pictures, as Markdown and as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..imaging import compressed_data
from .html import data_url, rendered
from .tables import in_one_line, markdown_table

__all__ = ["Compared", "Document", "Sheet", "Table"]

_QUALITY = 85


class Compared(Protocol):
    """One of what is compared, such as an aligner or a tracker."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def description(self) -> str:
        """What it is, and what runs it."""

    @property
    def weights_sha256(self) -> str:
        """Hash of its weights; empty without weights."""


@dataclass(frozen=True)
class Table:
    """A table of plain texts, the first column flush left.

    Attributes:
        note: What its numbers are.
        best: Row and column of the best cell of each column, or of each row.
    """

    title: str
    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, eq=False)
class Sheet:
    """Pictures that belong together, as one.

    Attributes:
        title: What they show.
        image: ``(H, W, 3)`` uint8 RGB.
    """

    title: str
    image: np.ndarray


@dataclass(frozen=True)
class Document:
    """A comparison.

    Attributes:
        title: Of the whole.
        tables: In order.
        compared: What is compared.
        problems: Sentences: what could not be read or done.
        facts: How it was made, by name.
    """

    title: str
    tables: Sequence[Table]
    compared: Sequence[Compared]
    problems: Sequence[str]
    facts: Mapping[str, str]

    def markdown(self) -> str:
        """Return it without pictures; the best cells are bold."""
        parts = [f"# {self.title}"]
        for table in self.tables:
            rows = [
                [f"**{in_one_line(text)}**" if (row, column) in table.best else in_one_line(text)
                 for column, text in enumerate(texts)]
                for row, texts in enumerate(table.rows)
            ]  # fmt: skip
            head = [in_one_line(text) for text in table.head]
            parts += [f"## {table.title}", table.note, markdown_table(head, rows)]
        if self.problems:
            parts += ["## Problems", "\n".join(f"- {in_one_line(problem)}" for problem in self.problems)]
        described = [f"- {in_one_line(item.name)}: {in_one_line(item.description)}" for item in self.compared]
        facts = [f"- {in_one_line(name)}: {in_one_line(text)}" for name, text in self.facts.items()]
        parts += ["## How this was made", "\n".join(described), "\n".join(facts)]
        return "\n\n".join(parts) + "\n"

    def page(self, template: str, charts: Mapping[str, bytes], sheets: Sequence[Sheet], **more: Any) -> str:
        """Return it as an HTML page.

        Args:
            template: A child of ``comparison.html.j2``, which says what charts and pictures show.
            charts: PNG by title.
            sheets: Pictures, shown as they are.
            more: What else the template names.

        Raises:
            FusionError: Jinja2 is not installed.
        """
        return rendered(
            template,
            title=self.title,
            tables=self.tables,
            charts=[(title, data_url(chart, "png")) for title, chart in charts.items()],
            sheets=[(s.title, data_url(compressed_data(s.image, "jpeg", _QUALITY), "jpeg")) for s in sheets],
            compared=self.compared,
            problems=self.problems,
            facts=list(self.facts.items()),
            **more,
        )
