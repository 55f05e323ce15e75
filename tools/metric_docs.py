"""Write the table of metrics in ``docs/evaluation.md`` from the metrics themselves: ``make docs``."""

from __future__ import annotations

from pathlib import Path

from fusion_ros.metrics import METRICS, MetricSpec

__all__ = ["PAGE", "render"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "evaluation.md"
_BEGIN, _END = "<!-- metrics: begin -->\n", "<!-- metrics: end -->"


def render(page: str) -> str:
    """Return the page with the table as it is now."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    rows = ["| metric | | better | variants, default first |", "|---|---|---|---|", *map(_row, METRICS.values())]
    return f"{before}{_BEGIN}" + "\n".join(rows) + f"\n{_END}{after}"


def _row(metric: MetricSpec) -> str:
    variants = ", ".join(f"`{variant.name}`" for variant in metric.variants)
    direction = "higher" if metric.higher_is_better else "lower"
    return f"| {metric.name} | {metric.title} | {direction} | {variants} |"


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
