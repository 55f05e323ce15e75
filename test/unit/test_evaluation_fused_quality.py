"""What misalignment costs the fused image: deformations undone by hand, and metrics taken by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fusion_ros.alignment.estimate import Estimate
from fusion_ros.classical.pyramid import laplacian
from fusion_ros.evaluation.conditions import Condition
from fusion_ros.evaluation.registration import PairImages, measure_pair, open_aligner
from fusion_ros.evaluation.registration.aligners import Aligner
from fusion_ros.evaluation.registration.quality import TRUTH, QualityRecord, QualitySummary
from fusion_ros.geometry.warp import inner_rectangle
from fusion_ros.metrics import evaluate, select_columns
from fusion_ros.synthetic.misalign import Misalignment

SIZE = (120, 160)
COLUMNS = select_columns("Qabf,SSIM,MI")
SHIFT = Condition(Misalignment("shift", 5.0))


def _smooth(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3.0)
    return np.rint(np.clip(128.0 + 60.0 * smooth / smooth.std(), 0, 255)).astype(np.uint8)


@pytest.fixture(scope="module")
def pair() -> PairImages:
    """Two cameras that see something of each other's, and something of their own."""
    shared = _smooth(0).astype(np.float32)
    thermal, grey = (np.rint(0.7 * shared + 0.3 * _smooth(seed)).astype(np.uint8) for seed in (1, 2))
    return PairImages("street", "0007", thermal, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))


class _Scripted:
    """Gives prepared flows: of the pair as recorded, once more on its own result, and of each deformed pair."""

    name = "scripted"

    def __init__(self, *flows: tuple[float, float]) -> None:
        first, *rest = (np.tile(np.float32(flow), (*SIZE, 1)) for flow in flows)
        self.flows = [first, first, *rest]  # the first pair of a size is asked twice

    def __call__(self, moving, fixed, *, valid=None, start=None):
        return Estimate(self.flows.pop(0), 1.0)


def _measured(pair: PairImages, aligner: Aligner, of: str | None = None) -> dict[str, QualityRecord]:
    of = of or aligner.name
    found = list(measure_pair(pair, [aligner], [SHIFT], seed=3, columns=COLUMNS))
    assert not [each for each in found if isinstance(each, str)]
    records = [each for each in found if isinstance(each, QualityRecord) and each.aligner == of]
    return {record.metric.partition(":")[0]: record for record in records}


def _undoing(offset: tuple[float, float]) -> tuple[float, float]:
    """The constant flow that undoes the shift, after which the pair is off by an offset as it was before."""
    dx, dy = SHIFT.stress.field(SIZE, "3/street/0007")[0, 0].tolist()
    return offset[0] - dx, offset[1] - dy


@pytest.mark.parametrize("offset", [(0.0, 0.0), (2.0, -1.0), (-1.3, 2.6)])
def test_who_undoes_the_deformation_keeps_the_quality_whatever_the_label_is_worth(pair, offset):
    exact = _measured(pair, Aligner("exact", _Scripted(offset, (0.0, 0.0), _undoing(offset))))
    assert set(exact) == {"Qabf", "SSIM", "MI"}
    for name, record in exact.items():
        assert record.value == pytest.approx(record.undeformed, rel=0.02), name
    off = _measured(pair, Aligner("off", _Scripted(offset, (0.0, 0.0), _undoing((offset[0] + 2.0, offset[1])))))
    for name, record in off.items():
        assert record.value < 0.97 * exact[name].value, name
        assert record.undeformed == exact[name].undeformed


def test_the_true_answer_is_measured_beside_the_aligners(pair):
    exact = Aligner("exact", _Scripted((0.0, 0.0), (0.0, 0.0), _undoing((0.0, 0.0))))
    truth = _measured(pair, open_aligner("none"), of=TRUTH)
    for name, record in _measured(pair, exact).items():
        assert (truth[name].value, truth[name].undeformed) == pytest.approx((record.value, record.undeformed))


def test_doing_nothing_is_worth_what_fusing_the_deformed_pair_is(pair):
    deformed, field = SHIFT.stress.apply(pair.thermal, "3/street/0007")
    dx, dy = field[0, 0].tolist()
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    # What is seen at p in the undeformed image is at p - d in the deformed one.
    there = (x - dx >= -0.5) & (x - dx <= SIZE[1] - 0.5) & (y - dy >= -0.5) & (y - dy <= SIZE[0] - 0.5)
    where = inner_rectangle(there)
    grey = cv2.cvtColor(pair.rgb, cv2.COLOR_RGB2GRAY)
    fused = [
        laplacian(one.astype(np.float32) / 255, grey.astype(np.float32) / 255) for one in (deformed, pair.thermal)
    ]
    images = [np.rint(np.clip(one, 0, 1) * 255).astype(np.uint8)[where] for one in fused]
    expected = [evaluate(pair.thermal[where], grey[where], one, COLUMNS) for one in images]
    for record in _measured(pair, open_aligner("none")).values():
        assert record.value == pytest.approx(expected[0][record.metric], rel=2e-3)
        assert record.undeformed == pytest.approx(expected[1][record.metric], rel=2e-3)
        assert record.value < 0.9 * record.undeformed


def test_nothing_is_measured_where_hardly_anything_is_seen(pair):
    valid = np.zeros(SIZE, bool)
    valid[40:70, 50:120] = True
    masked = PairImages(pair.source, pair.frame, pair.thermal, pair.rgb, valid)
    assert not _measured(masked, open_aligner("none"))


def test_without_metrics_nothing_is_fused(pair):
    found = list(measure_pair(pair, [open_aligner("none")], [SHIFT], seed=3))
    assert len(found) == 2 and not any(isinstance(each, QualityRecord) for each in found)


def test_a_summary_is_of_images_where_both_values_are_defined():
    def record(value: float, undeformed: float) -> QualityRecord:
        return QualityRecord("street", "1", "none", "shift 5 px", "MI:sum_bits", value, undeformed)

    found = QualitySummary.of([record(1.0, 2.0), record(2.0, 3.0), record(float("nan"), 4.0)])
    assert (found.images, found.mean, found.undeformed, found.kept) == (2, 1.5, 2.5, 0.6)
    assert np.isnan(QualitySummary.of([]).kept) and np.isnan(QualitySummary(1, 1.0, 0.0).kept)
