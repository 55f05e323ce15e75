"""The table of metrics, the choice of columns from it, and what each paper's tables are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import SettingsError, nearest_name
from .contrast import AVERAGE_GRADIENT, SPATIAL_FREQUENCY, STANDARD_DEVIATION
from .correlation import CORRELATION, DIFFERENCE_CORRELATION
from .edges import EDGE_TRANSFER, FUSION_ARTEFACTS
from .fidelity import VISUAL_FIDELITY
from .information import CROSS_ENTROPY, ENTROPY, MUTUAL_INFORMATION
from .perceptual import CHEN_BLUM, CHEN_VARSHNEY
from .spec import Column, MetricSpec, Needs
from .structural import MULTISCALE_SIMILARITY, STRUCTURAL_SIMILARITY
from .video import CHANGE_INFORMATION, FLICKER

__all__ = ["DEFAULT_COLUMNS", "METRICS", "PAPERS", "select_columns"]

METRICS: Mapping[str, MetricSpec] = {
    spec.name: spec
    for spec in (
        ENTROPY,
        STANDARD_DEVIATION,
        MUTUAL_INFORMATION,
        CROSS_ENTROPY,
        CORRELATION,
        DIFFERENCE_CORRELATION,
        SPATIAL_FREQUENCY,
        AVERAGE_GRADIENT,
        STRUCTURAL_SIMILARITY,
        MULTISCALE_SIMILARITY,
        VISUAL_FIDELITY,
        EDGE_TRANSFER,
        FUSION_ARTEFACTS,
        CHEN_BLUM,
        CHEN_VARSHNEY,
        FLICKER,
        CHANGE_INFORMATION,
    )
}
"""Every metric by name, in the order of a report's columns."""

PAPERS: Mapping[str, tuple[str, ...]] = {
    "rfn_nest": ("EN", "SD:root_sum_sq_01", "MI:twice_en", "Nabf:modified_01", "SCD", "MS-SSIM"),
    "lrrnet": (
        "EN",
        "SD:root_sum_sq_01",
        "MI:twice_en",
        "SSIM:mean_replicate",
        "VIF:wavelet_01_mean",
        "Nabf:modified_01",
    ),
    "reconet": ("EN", "SD", "CC"),
    "rfvif": ("CE", "EN", "MI:sum_nats", "SD", "SSIM", "Qabf", "Qcb", "Qcv"),
    "didfuse": ("EN", "SD:rms_of_column_std_255", "SF:forward_zero_end", "VIF", "AG:central_div_m1n1", "SCD"),
    "didfuse_ijcai": (
        "EN",
        "MI",
        "SD:rms_of_column_std_255",
        "SF:forward_zero_end",
        "VIF",
        "AG:central_div_m1n1",
    ),
}
"""The columns of each paper's tables, in the variants that its numbers turned out to be."""

ALL = "all"
DEFAULT = "default"
VIDEO = "video"
PAPER = "paper="


def select_columns(choice: str | Iterable[str] = DEFAULT) -> tuple[Column, ...]:
    """Return the columns that a choice names, each once, in the order named.

    Args:
        choice: Entries, or one text of entries separated by commas: ``EN`` (default variant),
            ``SD:root_sum_sq_01``, ``paper=rfn_nest``, ``default`` (the default variant of every metric of
            images), ``video`` (of every metric of consecutive frames), ``all`` (every variant of every metric).

    Raises:
        SettingsError: There is no such metric, variant or paper; the nearest is named.
    """
    entries = choice.split(",") if isinstance(choice, str) else choice
    columns = [column for entry in entries for column in _columns(entry.strip())]
    return tuple({column.key: column for column in columns}.values())


def _columns(entry: str) -> list[Column]:
    if entry == ALL:
        return [Column(spec, variant) for spec in METRICS.values() for variant in spec.variants]
    if entry in (DEFAULT, VIDEO):
        wanted = [spec for spec in METRICS.values() if (spec.needs is Needs.VIDEO) == (entry == VIDEO)]
        return [Column(spec, spec.default) for spec in wanted]
    if entry.startswith(PAPER):
        paper = entry[len(PAPER) :]
        if paper not in PAPERS:
            raise SettingsError(
                f"metrics: no tables of a paper {paper!r} are known; {nearest_name(paper, PAPERS)}"
            )
        return [_column(name) for name in PAPERS[paper]]
    return [_column(entry)]


def _column(entry: str) -> Column:
    name, _, wanted = entry.partition(":")
    spec = METRICS.get(name)
    if spec is None:
        raise SettingsError(f"metrics: there is no metric {name!r}; {nearest_name(name, METRICS)}")
    variants = {variant.name: variant for variant in spec.variants}
    if wanted and wanted not in variants:
        raise SettingsError(f"metrics: {name} has no variant {wanted!r}; {nearest_name(wanted, variants)}")
    return Column(spec, variants[wanted] if wanted else spec.default)


DEFAULT_COLUMNS = select_columns()
"""The default variant of every metric that a single triple is enough for."""
