"""Flicker, inter-frame information and warping error against videos whose changes are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metric_cases import mixture, noise

from fusion_ros.errors import ImageError
from fusion_ros.metrics import METRICS, Needs, Triple, warp_error
from fusion_ros.metrics.video import change_information, compensated, flicker

STILL = np.zeros((40, 60, 2), np.float32)


def _half_grey(shape=(40, 60), seed=0):
    """Grey levels around the middle, so that changes do not saturate."""
    return tuple(image // 2 + 60 for image in noise(shape, seed))


def test_the_table_lists_both_for_videos():
    video = {name: spec for name, spec in METRICS.items() if spec.needs is Needs.VIDEO}
    assert list(video) == ["Flicker", "IFD-MI"]
    previous, current = Triple(*_half_grey()), Triple(*_half_grey(seed=1))
    assert video["Flicker"].default.function(previous, current) == flicker(previous, current)
    assert video["IFD-MI"].default.function(previous, current) == change_information(previous, current)


def test_a_static_scene_does_not_flicker():
    frame = Triple(*_half_grey())
    assert flicker(frame, Triple(*frame.images)) == 0.0
    assert warp_error(frame.fused, frame.fused, STILL) == 0.0


@pytest.mark.parametrize("sign", [1, -1])
def test_flicker_that_was_added_is_measured_exactly(sign):
    infrared, visible, fused = _half_grey()
    flickering = fused.copy()
    flickering[:, ::3] += np.uint8(5 * sign % 256)
    assert flicker(Triple(infrared, visible, fused), Triple(infrared, visible, flickering)) == pytest.approx(5 / 3)


@pytest.mark.parametrize(("fused_change", "expected"), [(0, 0.0), (10, 0.0), (-10, 0.0), (14, 4.0), (-14, 4.0)])
def test_a_change_of_the_fused_image_is_explained_by_the_source_that_changes_most(fused_change, expected):
    infrared, visible, fused = (image.astype(int) for image in _half_grey())
    later = (infrared - 10, visible + 3, fused + fused_change)
    frames = [
        Triple(*(image.astype(np.uint8) for image in images)) for images in ((infrared, visible, fused), later)
    ]
    assert flicker(*frames) == expected


def test_flicker_is_looked_for_where_the_mask_says():
    infrared, visible, fused = _half_grey()
    flickering = fused.copy()
    flickering[:20] += 8
    frames = Triple(infrared, visible, fused), Triple(infrared, visible, flickering)
    top = np.zeros(fused.shape, bool)
    top[:20] = True
    assert [flicker(*frames), flicker(*frames, top), flicker(*frames, ~top)] == [4.0, 8.0, 0.0]
    assert math.isnan(flicker(*frames, np.zeros(fused.shape, bool)))


@pytest.mark.parametrize("shift", [(3, 0), (0, 2), (-4, 5)])
def test_a_scene_that_moves_does_not_flicker_along_its_flow(shift):
    right, down = shift
    large = [np.pad(image, 8) for image in mixture((40, 60))]
    frames = [
        Triple(*(np.ascontiguousarray(image[8 + dy : 48 + dy, 8 + dx : 68 + dx]) for image in large))
        for dx, dy in ((0, 0), (right, down))
    ]
    flow = STILL + np.float32(
        shift
    )  # the current view starts further right and down: its pixels were there before
    moved, valid = compensated(frames[0], flow)
    assert valid.sum() == (60 - abs(right)) * (40 - abs(down))
    assert flicker(moved, frames[1], valid) == 0.0
    assert warp_error(frames[0].fused, frames[1].fused, flow) == 0.0
    assert warp_error(frames[0].fused, frames[1].fused, -flow) > 0.0
    assert all((image[~valid] == 0).all() for image in moved.images)


def test_fractions_of_a_pixel_are_interpolated_without_rounding_in_the_warping_error():
    y, x = np.mgrid[:40, :60]
    previous, current = (2 * x + y).astype(np.uint8), (2 * x + y + 2).astype(np.uint8)
    flow = STILL + np.float32((0.75, 0.5))
    assert warp_error(previous, current, flow) == pytest.approx(0.0, abs=1e-9)
    assert warp_error(previous, previous, flow) == pytest.approx((2 / 255) ** 2)


def test_the_warping_error_is_of_pixels_that_are_known_and_seen_in_both_frames():
    previous = noise((40, 60))[0] // 2
    current = previous + 51
    current[:10] = 0
    seen = np.ones((40, 60), bool)
    seen[:5] = False
    flow = STILL.copy()
    flow[5:10] = np.nan
    assert warp_error(previous, current, flow, seen) == pytest.approx(0.2**2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unknown", [math.nan, math.inf, -1e30])
def test_a_flow_that_leads_nowhere_leaves_nothing_to_compare(unknown):
    frame = Triple(*_half_grey())
    flow = np.full((40, 60, 2), unknown)
    moved, valid = compensated(frame, flow)
    assert not valid.any()
    assert math.isnan(flicker(moved, frame, valid))
    assert math.isnan(warp_error(frame.fused, frame.fused, flow))


def _bits(*levels):
    counts = np.unique(np.stack([level.ravel() for level in levels]), axis=1, return_counts=True)[1]
    return -sum(share * math.log2(share) for share in counts / counts.sum())


def test_inter_frame_information_is_entropy_shared_with_either_source():
    previous, current = (Triple(*(image // 32 * 32 for image in mixture((40, 60), seed))) for seed in (1, 2))
    changes = [after.astype(int) - before for before, after in zip(previous.images, current.images, strict=True)]
    assert min(change.min() for change in changes) < 0
    infrared, visible, fused = changes
    expected = sum(_bits(source) + _bits(fused) - _bits(source, fused) for source in (infrared, visible))
    assert change_information(previous, current) == pytest.approx(expected, rel=1e-12)


def test_a_result_that_repeats_one_source_shares_that_source_s_changes_and_no_others():
    previous, current = noise((50, 70), 3)[0], noise((50, 70), 4)[0]
    still = np.full_like(previous, 9)
    change = current.astype(int) - previous
    frames = Triple(previous, still, previous), Triple(current, still, current)
    assert change_information(*frames) == pytest.approx(_bits(change))
    assert change_information(*(Triple(frame.infrared, still, still) for frame in frames)) == 0.0


def test_frames_flows_and_masks_of_another_size_are_refused():
    frame, other = Triple(*_half_grey()), Triple(*_half_grey((40, 62)))
    with pytest.raises(ImageError, match=r"two frames of equal size, got \(40, 60\) and \(40, 62\)"):
        flicker(frame, other)
    with pytest.raises(ImageError, match=r"two frames of equal size"):
        change_information(frame, other)
    with pytest.raises(
        ImageError, match=r"flow: expected floating point \(40, 60, 2\), got float32 \(2, 40, 60\)"
    ):
        compensated(frame, np.zeros((2, 40, 60), np.float32))
    with pytest.raises(ImageError, match=r"got int64 \(40, 60, 2\)"):
        compensated(frame, np.zeros((40, 60, 2), np.int64))
    with pytest.raises(ImageError, match=r"equal size, got \(40, 60\) and \(40, 62\)"):
        warp_error(frame.fused, other.fused, STILL)
    with pytest.raises(ImageError, match=r"valid: expected bool \(40, 60\), got uint8 \(40, 60\)"):
        warp_error(frame.fused, frame.fused, STILL, np.ones((40, 60), np.uint8))
