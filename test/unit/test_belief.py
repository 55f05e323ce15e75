"""What is believed of an estimate: what is better than moving nothing and no worse than what is held."""

from __future__ import annotations

import dataclasses

import drawn_scenes
import numpy as np
import pytest

from fusion_ros.alignment.belief import Verdict, judged
from fusion_ros.alignment.estimate import Estimate
from fusion_ros.alignment.fine import FineAligner, FineSettings, State
from fusion_ros.alignment.structural import StructuralEstimator
from fusion_ros.evaluation.registration.measure import rendered
from fusion_ros.evaluation.registration.street import StreetPairs
from fusion_ros.geometry.warp import warp_by_flow
from fusion_ros.pipeline import FusionSettings

SIZE = (240, 320)
GATES = {"gate": 0.3, "search_px": 16.0}


def _scene(x: float = 0.0, y: float = 0.0, *, is_thermal: bool = False, seed: int = 0) -> np.ndarray:
    moved = np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
    return drawn_scenes.scene(moved, is_thermal=is_thermal, seed=seed, size=SIZE, margin=12.0)


def _flow(x: float, y: float) -> np.ndarray:
    return np.broadcast_to(np.float32([x, y]), (*SIZE, 2)).copy()


def _judge(flow, moving, fixed, held=None, **kwargs):
    return judged(Estimate(flow, 1.0), held, moving, fixed, **GATES, **kwargs).verdict


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [(3.0, 0.0), (0.0, -2.0), (5.4, 4.3)], ids=str)
def test_the_right_flow_is_believed_and_every_other_one_is_not(shift, seed):
    moving, fixed = _scene(*shift, is_thermal=True, seed=seed), _scene(seed=seed)
    x, y = shift
    assert _judge(_flow(x, y), moving, fixed) is Verdict.BELIEVED
    assert _judge(_flow(-x, -y), moving, fixed) is Verdict.NEEDLESS
    assert _judge(_flow(0.0, 0.0), moving, fixed) is Verdict.NEEDLESS
    assert _judge(_flow(x + 9.0, y - 7.0), moving, fixed) is Verdict.NEEDLESS


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("flow", [(0.3, 0.2), (-0.5, 0.5), (2.0, 0.0), (-4.0, 3.0)], ids=str)
def test_what_is_aligned_is_never_moved(flow, seed):
    assert _judge(_flow(*flow), _scene(is_thermal=True, seed=seed), _scene(seed=seed)) is Verdict.NEEDLESS


def test_a_field_is_believed_that_mends_one_half_of_the_image():
    moving, fixed = _scene(5.0, is_thermal=True), _scene()
    straight = _scene(is_thermal=True)
    moving[:, :160] = straight[:, :160]
    half = _flow(0.0, 0.0)
    half[..., 0] = np.clip((np.arange(320) - 140) / 8.0, 0.0, 5.0)  # rises over 40 px
    assert _judge(half, moving, fixed) is Verdict.BELIEVED


def test_an_estimate_has_to_be_no_worse_than_what_is_held():
    moving, fixed = _scene(6.0, -3.0, is_thermal=True), _scene()
    found = judged(Estimate(_flow(4.0, -1.5), 1.0), _flow(6.0, -3.0), moving, fixed, **GATES)
    assert found.verdict is Verdict.NEEDLESS
    assert "better with what is held" in found.reason
    assert _judge(_flow(6.0, -3.0), moving, fixed, held=_flow(6.1, -2.9)) is Verdict.BELIEVED


def test_what_is_held_is_given_up_only_where_the_images_deny_it():
    fixed = _scene()
    moved_back = _scene(is_thermal=True)
    assert _judge(_flow(0.1, 0.0), moved_back, fixed, held=_flow(5.0, 2.0)) is Verdict.NOTHING
    still_off = _scene(5.0, 2.0, is_thermal=True)
    assert _judge(_flow(-3.0, 0.0), still_off, fixed, held=_flow(5.0, 2.0)) is Verdict.NEEDLESS


def test_what_the_moving_camera_does_not_see_is_no_evidence():
    moving, fixed = _scene(6.0, 0.0, is_thermal=True), _scene()
    valid = np.ones(SIZE, bool)
    valid[:, 100:] = False
    beyond = np.where(valid, _scene(is_thermal=True), moving)  # aligned where it is seen, off where it is not
    assert _judge(_flow(6.0, 0.0), beyond, fixed) is Verdict.BELIEVED
    assert _judge(_flow(6.0, 0.0), beyond, fixed, valid=valid) is Verdict.NEEDLESS


def test_how_far_a_field_goes_where_the_moving_camera_sees_nothing_does_not_count():
    moving, fixed = _scene(6.0, 0.0, is_thermal=True), _scene()
    valid = np.ones(SIZE, bool)
    valid[:, 240:] = False
    flow = _flow(6.0, 0.0)
    flow[:, 240:, 0] += np.minimum(0.45 * np.arange(80), 34.0)  # goes on steeply there, to 40 px
    assert _judge(flow, moving, fixed, valid=valid) is Verdict.BELIEVED
    assert _judge(flow, moving, fixed) is Verdict.DOUBTED


def test_an_aligned_pair_stays_as_it_is_where_the_estimator_is_wrong_and_sure():
    """Rendered pairs whose parallax was taken away exactly: heat and colour have their edges in other places."""
    align = FineAligner(StructuralEstimator(), FineSettings())
    for images in StreetPairs((0, 4, 7)).pairs(FusionSettings()):
        case = rendered(images)
        aligned = dataclasses.replace(case, moving=warp_by_flow(case.moving, case.wanted))
        align.reset()
        found = align(aligned.moving, aligned.fixed, valid=aligned.valid)
        assert found.confidence > 0.9  # so it is not the gate that keeps it
        assert (found.state, found.flow) == (State.UNCHANGED, None)


def test_a_rig_that_is_knocked_out_of_place_and_put_back_is_followed_both_ways():
    align = FineAligner(StructuralEstimator(), FineSettings(every=1, smoothing_s=0.0))
    fixed, straight, knocked = _scene(), _scene(is_thermal=True), _scene(6.0, 2.0, is_thermal=True)
    lengths = [
        align(moving, fixed, stamp_ns=i * 100_000_000).mean_px
        for i, moving in enumerate([straight] * 3 + [knocked] * 3 + [straight] * 3)
    ]
    assert lengths[2] == 0.0
    assert lengths[5] == pytest.approx(np.hypot(6.0, 2.0), abs=0.2)
    assert lengths[8] == pytest.approx(0.0, abs=0.05)
