"""Measuring aligners: what is said of an answer is held against deformations that are undone by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import math

import cv2
import numpy as np
import pytest

from fusion_ros.alignment.estimate import Estimate
from fusion_ros.cards import ModelCard
from fusion_ros.engines import EngineSettings
from fusion_ros.errors import AlignmentError, SettingsError
from fusion_ros.evaluation.conditions import Condition
from fusion_ros.evaluation.registration import (
    AlignerFacts,
    AlignmentEvaluation,
    AlignmentRecord,
    PairImages,
    measure_pair,
    open_aligner,
)
from fusion_ros.evaluation.registration.aligners import Aligner
from fusion_ros.evaluation.registration.baselines import homography_flow
from fusion_ros.evaluation.registration.measure import deformed, known_part_error, label_error
from fusion_ros.evaluation.registration.tables import markdown
from fusion_ros.evaluation.results import AS_RECORDED
from fusion_ros.geometry.warp import warp_by_flow
from fusion_ros.imaging.flow_picture import flow_picture, flow_wheel, with_flow_wheel
from fusion_ros.networks import build_network
from fusion_ros.synthetic.misalign import Misalignment
from fusion_ros.weights import install_model

SIZE = (120, 160)
BASELINES = ("phase_correlation", "ecc_translation", "ecc_affine", "features")


def _scene(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Bright and dark boxes and discs on a gentle slope, uint8: edges at all places and in all directions."""
    rng = np.random.default_rng(seed)
    image = np.tile(np.linspace(90.0, 150.0, size[1], dtype=np.float32), (size[0], 1))
    for _ in range(60):
        at, grey = (int(rng.integers(size[1])), int(rng.integers(size[0]))), float(rng.integers(0, 256))
        if rng.random() < 0.5:
            cv2.circle(image, at, int(rng.integers(3, 14)), grey, -1)
        else:
            cv2.rectangle(
                image, at, (at[0] + int(rng.integers(4, 24)), at[1] + int(rng.integers(4, 24))), grey, -1
            )
    return np.rint(cv2.GaussianBlur(image, (0, 0), 1.0)).astype(np.uint8)


def _pair(valid: np.ndarray | None = None) -> PairImages:
    return PairImages("street", "0007", _scene(), cv2.cvtColor(255 - _scene(), cv2.COLOR_GRAY2RGB), valid)


def _condition(kind: str, level: float) -> Condition:
    return Condition(Misalignment(kind, level))


class _Scripted:
    """An estimator that gives prepared flows, one a call."""

    name = "scripted"

    def __init__(self, *flows: np.ndarray, confidence: float = 1.0) -> None:
        self.flows, self.confidence = list(flows), confidence

    def __call__(self, moving, fixed, *, valid=None, start=None):
        return Estimate(self.flows.pop(0), self.confidence)


def _constant(x: float, y: float) -> np.ndarray:
    return np.tile(np.array([x, y], np.float32), (*SIZE, 1))


def _affine_of(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``A`` and ``b`` of an affine field ``A q + b``, fitted by least squares."""
    y, x = np.mgrid[: field.shape[0], : field.shape[1]].reshape(2, -1)
    found, *_ = np.linalg.lstsq(np.stack([x, y, np.ones(x.size)], 1), field.reshape(-1, 2), rcond=None)
    return found[:2].T, found[2]


def _true_answer(field: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return the flow of an aligner that knows: ``q + A q + b = p + offset``, solved for ``q``."""
    matrix, shift = _affine_of(field)
    places = np.dstack(np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))).reshape(-1, 2)
    found = np.linalg.solve(np.eye(2) + matrix, (places + offset - shift).T).T
    return (found - places).reshape(*SIZE, 2).astype(np.float32)


@pytest.mark.parametrize(("kind", "level"), [("shift", 5.0), ("affine", 6.0)])
def test_the_true_answer_has_no_known_part_error_whatever_the_label_is_worth(kind, level):
    case = deformed(_pair(), _condition(kind, level), seed=3)
    offset = np.array([2.0, -1.5])
    flow = _true_answer(case.field, offset)
    assert known_part_error(case, flow, _constant(*offset)) < 0.02
    assert label_error(case, flow) == pytest.approx(2.5, abs=0.02)
    # Off by a constant, it is off by what the deformation makes of the constant.
    matrix, _ = _affine_of(case.field)
    off = np.linalg.norm((np.eye(2) + matrix) @ (1.2, -0.5))
    wrong = known_part_error(case, flow + np.array([1.2, -0.5], np.float32), _constant(*offset))
    assert wrong == pytest.approx(off, abs=0.02)


def test_doing_nothing_costs_the_length_of_the_deformation():
    conditions = [_condition("shift", 3.0), _condition("affine", 6.0), _condition("elastic", 2.0)]
    recorded, *records = measure_pair(_pair(), [open_aligner("none")], conditions, seed=5)
    assert (recorded.condition, recorded.known_px, recorded.label_px) == (AS_RECORDED, 0.0, 0.0)
    assert records[0].known_px == pytest.approx(3.0, abs=1e-3)
    for record, condition in zip(records, conditions, strict=True):
        field = condition.stress.field(SIZE, "5/street/0007")
        everywhere = np.hypot(field[..., 0], field[..., 1]).mean()
        assert record.known_px == record.label_px == record.nothing_px == pytest.approx(everywhere, rel=0.1)
        assert not record.has_failed


def test_pixels_are_compared_whose_counterpart_is_in_the_deformed_image():
    case = deformed(_pair(), _condition("shift", 9.0), seed=1)
    dx, dy = (-case.field[0, 0]).tolist()
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    inside = (x + dx >= -0.5) & (x + dx <= SIZE[1] - 0.5) & (y + dy >= -0.5) & (y + dy <= SIZE[0] - 0.5)
    assert (case.compared == inside).mean() > 0.995
    assert 0.8 < case.compared.mean() < 0.99


def test_nothing_is_compared_where_the_thermal_camera_sees_nothing():
    valid = np.zeros(SIZE, bool)
    valid[20:100, 30:130] = True
    case = deformed(_pair(valid), _condition("shift", 8.0), seed=1)
    assert case.compared.any() and not case.compared[~valid].any()
    dx, dy = np.rint(case.field[0, 0]).astype(int)
    # What is valid to the aligner shows thermal pixels: no black frame, neither where it was nor where it moved.
    y, x = np.nonzero(case.valid)
    assert (
        valid[y, x].all() and valid[np.clip(y + dy, 0, SIZE[0] - 1), np.clip(x + dx, 0, SIZE[1] - 1)].mean() > 0.97
    )


def test_the_pair_as_recorded_is_told_what_the_aligner_adds():
    scripted = _Scripted(_constant(0, 0), _constant(3.0, 4.0), _constant(0.6, 0.8))  # the first warms up
    (record,) = measure_pair(_pair(), [Aligner("scripted", scripted)], [])
    assert record.label_px == pytest.approx(5.0) and record.known_px == pytest.approx(1.0)


def test_what_the_pipeline_would_not_take_is_added_to_no_pair():
    aligned = _pair()
    beside = dataclasses.replace(
        aligned, frame="0008", thermal=warp_by_flow(aligned.thermal, _constant(-5.0, 0.0))
    )
    nothing, off, right = _constant(0.0, 0.0), _constant(0.6, 0.8), _constant(5.0, 0.0)
    aligner = Aligner("scripted", _Scripted(nothing, nothing, off, nothing, right))
    records = [record for images in (aligned, beside) for record in measure_pair(images, [aligner], [])]
    assert [record.is_believed for record in records] == [False, True]
    evaluation = AlignmentEvaluation({}, [AlignerFacts("scripted")], [AS_RECORDED], [], records)
    assert evaluation.gated("scripted") == pytest.approx(2.5)
    assert "| 3.00 | 3.00 | 2.50 | 1 of 2 |" in markdown(evaluation)


class _Breaks:
    name = "breaks"

    def __call__(self, moving, fixed, *, valid=None, start=None):
        raise AlignmentError("expected more than this")


class _GivesNaN:
    name = "nan"

    def __call__(self, moving, fixed, *, valid=None, start=None):
        return Estimate(np.full((*fixed.shape, 2), np.nan, np.float32), 0.9)


@pytest.mark.parametrize(
    ("estimator", "reason"), [(_Breaks(), "expected more than this"), (_GivesNaN(), "expected a finite flow")]
)
def test_who_gives_no_usable_flow_has_failed_and_is_measured_as_doing_nothing(estimator, reason):
    found = list(measure_pair(_pair(), [Aligner("mine", estimator)], [_condition("shift", 3.0)]))
    records = [each for each in found if isinstance(each, AlignmentRecord)]
    problems = [each for each in found if isinstance(each, str)]
    assert [record.has_failed for record in records] == [True, True]
    assert records[1].known_px == pytest.approx(3.0, abs=1e-3)
    assert problems and all(reason in problem and "street, 0007, mine" in problem for problem in problems)


def test_a_deformation_that_is_too_large_for_the_image_costs_that_condition_alone():
    small = PairImages("s", "f", _scene(size=(48, 64)), _scene(size=(48, 64)))
    conditions = [_condition("shift", 8.0), _condition("shift", 3.0)]
    found = list(measure_pair(small, [open_aligner("none")], conditions))
    assert [each.condition for each in found if isinstance(each, AlignmentRecord)] == [AS_RECORDED, "shift 3 px"]
    assert ["expected at most 6 px" in each for each in found if isinstance(each, str)] == [True]


def test_no_aligner_sees_what_another_one_did_to_the_images():
    class Spoils:
        name = "spoils"

        def __call__(self, moving, fixed, *, valid=None, start=None):
            moving[:], fixed[:] = 0.0, 1.0
            return Estimate(np.zeros((*fixed.shape, 2), np.float32), 1.0)

    conditions = [_condition("shift", 3.0)]
    alone = list(measure_pair(_pair(), [open_aligner("ecc_translation")], conditions))
    after = list(measure_pair(_pair(), [Aligner("spoils", Spoils()), open_aligner("ecc_translation")], conditions))
    assert [record.known_px for record in after[2:]] == [record.known_px for record in alone]


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("size", [SIZE, (113, 151)])
def test_baselines_find_a_shift_and_leave_the_images_as_they_are(name, size):
    scene = _scene(4, (size[0] + 20, size[1] + 20)).astype(np.float32) / 255.0
    fixed = np.ascontiguousarray(scene[10:-10, 10:-10])
    moving = np.ascontiguousarray(scene[13:-7, 5:-15])  # moving(p) = fixed(p + (-5, 3))
    before = moving.copy(), fixed.copy()
    estimate = open_aligner(name).estimator(moving, fixed)
    assert estimate.flow.dtype == np.float32 and estimate.flow.shape == (*size, 2)
    assert np.abs(estimate.flow - np.array([5.0, -3.0])).mean() < 0.25
    assert 0.0 < estimate.confidence <= 1.0
    assert np.array_equal(moving, before[0]) and np.array_equal(fixed, before[1])


@pytest.mark.parametrize("name", ["ecc_affine", "features"])
def test_baselines_find_an_affine_map(name):
    fixed = _scene(4).astype(np.float32) / 255.0
    moving_from_fixed = np.array([[1.03, -0.02, 2.0], [0.015, 0.98, -1.5], [0.0, 0.0, 1.0]])
    moving = cv2.warpAffine(
        fixed, moving_from_fixed[:2], SIZE[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    flow = open_aligner(name).estimator(moving, fixed).flow
    truth = homography_flow(moving_from_fixed, SIZE)
    assert truth[7, 11] == pytest.approx(
        [1.03 * 11 - 0.02 * 7 + 2 - 11, 0.015 * 11 + 0.98 * 7 - 1.5 - 7], abs=1e-4
    )
    assert np.hypot(*np.moveaxis(flow - truth, 2, 0)).mean() < 0.4


def test_ecc_leaves_two_copies_of_one_image_alone():
    image = _scene(2).astype(np.float32) / 255.0
    assert np.abs(open_aligner("ecc_affine").estimator(image, image.copy()).flow).max() < 0.02


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_find_nothing_on_blank_images_and_nothing_far_away_in_noise(name):
    blank, start = np.full(SIZE, 0.5, np.float32), _constant(1.0, 2.0)
    scene = _scene().astype(np.float32) / 255.0
    for moving, fixed in ((blank, blank), (blank, scene), (scene, np.zeros(SIZE, np.float32))):
        estimate = open_aligner(name).estimator(moving, fixed)
        assert estimate.confidence == 0.0 and not estimate.flow.any()
        assert np.array_equal(open_aligner(name).estimator(moving, fixed, start=start).flow, start)
    noise = np.random.default_rng(0).random((2, *SIZE), np.float32)
    flow = open_aligner(name).estimator(*noise).flow
    assert np.isfinite(flow).all() and np.hypot(flow[..., 0], flow[..., 1]).max() < max(SIZE)


def test_a_wrong_name_is_answered_with_the_nearest_one():
    with pytest.raises(
        SettingsError, match=r"no aligner 'structural:homografy'; did you mean 'structural:homography'"
    ):
        open_aligner("structural:homografy")
    with pytest.raises(SettingsError, match="expected a model that gives a flow, lrrnet"):
        open_aligner("lrrnet")


@pytest.mark.parametrize("network", ["reconet", "reconet_micro_register"])
def test_a_model_that_gives_a_flow_is_an_aligner(tmp_path, network):
    import torch

    made = build_network(network)
    last = getattr(made, "register", made).last
    with torch.no_grad():  # every pixel gets the same velocity, whatever the images show
        last.weight.zero_()
        last.bias.copy_(torch.tensor([2.0, -1.0]))
    card = ModelCard(
        name="mine", network=network, parameters=1, file="", sha256="", licence="CC0-1.0", data="none", recipe={},
        commit="0", seed=None, date="2025-01-01", hardware="any", metrics={},
    )  # fmt: skip
    folder = install_model(tmp_path, card, made.state_dict())
    aligner = open_aligner(f"plain:{folder}", EngineSettings(name="torch", device="cpu", threads=1))
    image = _scene().astype(np.float32) / 255.0
    flow = aligner(image, image).flow
    assert np.abs(flow[20:-20, 20:-20] - np.array([2.0, -1.0])).max() < 0.01
    assert len(aligner.weights_sha256) == 64 and "torch" in aligner.description


def _evaluation(known: list[float], failed: int = 0) -> AlignmentEvaluation:
    records = [
        AlignmentRecord(
            "a", str(n), "mine", condition, value, 2 * value, 3.0, 0.9, 0.5, True, n < failed, 10.0 + n
        )
        for n, value in enumerate(known)
        for condition in (AS_RECORDED, "shift 3 px")
    ]
    return AlignmentEvaluation({}, [AlignerFacts("mine")], [AS_RECORDED, "shift 3 px"], [], records, ["it rained"])


def test_what_is_said_of_many_images():
    known = [0.5, 1.0, 1.5, 4.0, 9.0]
    evaluation = _evaluation(known, failed=2)
    found = evaluation.summary("mine", "shift 3 px")
    assert (found.images, found.known_mean, found.known_median) == (5, pytest.approx(3.2), 1.5)
    assert (found.far, found.failures, found.label_mean, found.nothing_mean) == (0.4, 2, pytest.approx(6.4), 3.0)
    assert found.known_low < 3.2 < found.known_high
    assert evaluation.overall("mine") == pytest.approx(3.2)  # the pairs as recorded do not count
    assert evaluation.times_ms("mine")["p50"] == 12.0
    assert "3.20 (1.50), 40 %" in markdown(evaluation) and "it rained" in markdown(evaluation)
    assert "2 of 5" in markdown(evaluation)


def test_the_csv_holds_every_record_but_no_time():
    rows = list(csv.DictReader(io.StringIO(_evaluation([0.5, math.nan]).to_csv())))
    assert [row["known_px"] for row in rows] == ["0.5", "0.5", "", ""]
    assert "ms" not in rows[0] and rows[0]["has_failed"] == "0"


def test_flows_have_the_colours_of_the_wheel():
    wheel = flow_wheel(101)
    for x, y in ((1.0, 0.0), (0.0, 1.0), (-0.6, -0.6)):
        flow = np.tile(np.array([x, y], np.float32) * 8.0, (4, 4, 1))
        place = wheel[round(50 + 50 * y), round(50 + 50 * x)]
        assert np.abs(flow_picture(flow, 8.0)[0, 0].astype(int) - place).max() <= 6
    assert (flow_picture(np.zeros((4, 4, 2), np.float32), 8.0) == 255).all()
    picture = np.full((200, 300, 3), 255, np.uint8)
    shown = with_flow_wheel(picture, 8.0)
    assert np.array_equal(shown[:150], picture[:150]) and (shown[-40:, -40:] != 255).any()
    assert (picture == 255).all()
