"""Tracking sequences of the synthetic street: their boxes, attributes, alignment, and what is kept of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fusion_ros.errors import ImageError
from fusion_ros.synthetic import SyntheticWorld, TargetView, WorldSettings
from fusion_ros.synthetic.obstacles import Obstacle
from fusion_ros.synthetic.sequences import (
    SEQUENCE_ATTRIBUTES,
    TRACKING_SEQUENCES,
    SequenceDefinition,
    SyntheticSequence,
)

QUARTER = {"rgb_width": 160, "rgb_height": 120, "thermal_width": 80, "thermal_height": 64}
Sights = Sequence[Mapping[int, tuple[str, TargetView]]]
"""Kind and view of each target by identity, a mapping a frame."""


def clipped(box: tuple[float, ...], size: tuple[int, int]) -> np.ndarray:
    """Left, top, right, bottom of what lies in the image, of a box ``(x, y, width, height)``."""
    left, top, width, height = box
    edges = np.array([left, top, left + width, top + height])
    return np.clip(edges, 0, [size[1], size[0], size[1], size[0]])


def area(edges: np.ndarray) -> float:
    return float(max(0.0, edges[2] - edges[0]) * max(0.0, edges[3] - edges[1]))


def measured_attributes(sights: Sights, identity: int, size: tuple[int, int], scale: float = 1.0) -> set[str]:
    """The attributes that follow from the views of all targets: the rules of SEQUENCE_ATTRIBUTES once more.

    ``size`` is that of the images, which are ``scale`` times as large as the sequence's.
    """
    views = [sight[identity][1] if identity in sight else None for sight in sights]
    seen = np.array([view.visibility if view else 0.0 for view in views])
    inside = np.array([area(clipped(view.whole, size)) / (view.whole[2] * view.whole[3]) if view else 0.0
                       for view in views])  # fmt: skip
    present = [clipped(view.whole, size) / scale for view, share in zip(views, seen, strict=True) if share >= 0.1]
    centres = {
        index: (edges[:2] + edges[2:]) / 2
        for index, edges in zip(np.flatnonzero(seen >= 0.1).tolist(), present, strict=True)
    }
    steps = [math.dist(centre, centres[index - 1]) for index, centre in centres.items() if index - 1 in centres]
    sizes = np.array([view.whole[2] * view.whole[3] for view in views if view])
    near = sum(_has_distractor(sight, identity) for sight in sights)
    found = {
        "partial_occlusion": np.sum((seen >= 0.1) & (seen < 0.7) & (inside == 1)) >= 3,
        "full_occlusion": np.sum((seen < 0.1) & (inside >= 0.5)) >= 2,
        "out_of_view": np.sum(inside < 0.5) >= 2,
        "small_target": np.median([area(edges) for edges in present]) < 400,
        "fast_motion": max(steps) > 20,
        "scale_change": sizes.min() < 0.5 * sizes[0] or sizes.max() > 2 * sizes[0],
        "distractors": near >= 5,
    }
    return {name for name, holds in found.items() if holds}


def _has_distractor(sight: Mapping[int, tuple[str, TargetView]], identity: int) -> bool:
    if identity not in sight:
        return False
    kind, own = sight[identity]
    x, y, width, height = own.whole
    for other, (other_kind, view) in sight.items():
        if other == identity or other_kind != kind or view.visibility < 0.5:
            continue
        u, v, other_width, other_height = view.whole
        apart = math.hypot(u + other_width / 2 - x - width / 2, v + other_height / 2 - y - height / 2)
        if 2 / 3 <= other_height / height <= 3 / 2 and apart <= math.hypot(width, height):
            return True
    return False


def short(name: str, frames: int = 3, **changes: object) -> SequenceDefinition:
    return replace(TRACKING_SEQUENCES[name], frames=frames, **changes)


@pytest.fixture(scope="module")
def behind_a_column() -> tuple[SyntheticWorld, SyntheticWorld, int]:
    """One street without and with a column, and who walks behind it."""
    definition = TRACKING_SEQUENCES["day_behind_column"]
    settings = definition.world.updated(QUARTER)
    return SyntheticWorld(settings), SyntheticWorld(settings, definition.obstacles), definition.target


def test_a_hidden_target_keeps_its_whole_box_and_loses_its_pixels(behind_a_column):
    free, blocked, target = behind_a_column
    shares = []
    for time_s in np.arange(1.0, 6.0, 0.5).tolist():
        alone, hidden = free.target_view(target, time_s), blocked.target_view(target, time_s)
        if alone.visibility < 1.0:
            continue  # somebody else stands in front
        assert hidden.whole == alone.box
        assert hidden.visibility == pytest.approx(hidden.mask.sum() / alone.mask.sum())
        shares.append(hidden.visibility)
    assert max(shares) == 1.0
    assert min(shares) == 0.0


def test_a_column_hides_from_the_thermal_camera_too(behind_a_column):
    free, blocked, target = behind_a_column
    time_s = next(t for t in np.arange(2.0, 5.0, 0.1) if blocked.target_view(target, t).visibility == 0)
    before, behind = (
        next(item for item in world.truth(time_s).targets if item.identity == target) for world in (free, blocked)
    )
    assert before.thermal.visibility > 0.9
    assert behind.thermal.visibility < 0.1


def test_a_view_of_one_target_is_that_of_the_whole_truth(behind_a_column):
    _, world, _ = behind_a_column
    for target in world.truth(3.0).targets:
        view = world.target_view(target.identity, 3.0)
        if view is None:
            assert not target.rgb.mask.any()
            continue
        assert (view.box, view.visibility, view.whole) == (
            target.rgb.box,
            target.rgb.visibility,
            target.rgb.whole,
        )
        np.testing.assert_array_equal(view.mask, target.rgb.mask)


def contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """How much the mean of a mask differs from that of the pixels around it."""
    ring = cv2.dilate(mask.astype(np.uint8), np.ones((15, 15))).astype(bool) & ~mask
    return float(abs(image[mask].mean() - image[ring].mean()))


def test_thermal_crossover_hides_people_from_the_thermal_camera_only():
    contrasts = {}
    for hot in (False, True):
        options = {"thermal_encoding": "mono16", "noise": 0.0, "rgb_width": 320, "rgb_height": 240}
        world = SyntheticWorld(WorldSettings(seed=3, thermal_crossover=hot, **options))
        truth = world.truth(5.0)
        people = [t for t in truth.targets if t.kind == "person" and t.thermal.visibility > 0.9 and t.depth_m < 20]
        assert len(people) >= 2
        kelvin, grey = world.thermal_image(5.0) / 100.0, world.rgb_image(5.0).mean(axis=-1)
        contrasts[hot] = (
            np.mean([contrast(kelvin, person.thermal.mask) for person in people]),
            np.mean([contrast(grey, person.rgb.mask) for person in people]),
        )
    assert contrasts[False][0] > 3.0  # kelvin
    assert contrasts[True][0] < 1.5
    assert contrasts[True][1] == pytest.approx(contrasts[False][1], rel=0.02)


def test_the_table_names_at_least_thirty_sequences_and_covers_every_attribute():
    definitions = TRACKING_SEQUENCES.values()
    assert len(definitions) >= 30
    assert set().union(*(row.attributes for row in definitions)) == set(SEQUENCE_ATTRIBUTES)
    for name, row in TRACKING_SEQUENCES.items():
        assert row.name == name
        assert row.condition in row.attributes
        assert ("camera_motion" in row.attributes) == (row.camera_motion != "still")
        assert ("thermal_crossover" in row.attributes) == row.thermal_crossover
        kind = row.degradations.partition(":")[0]
        assert not kind or kind in row.attributes
        assert 10 <= row.rate_hz <= 15
        assert 4 <= row.frames / row.rate_hz <= 6


def test_attributes_are_what_the_truth_says():
    definition = TRACKING_SEQUENCES["day_behind_column"]
    world = SyntheticWorld(definition.world.updated(QUARTER), definition.obstacles)
    times_s = definition.start_s + np.arange(definition.frames) / definition.rate_hz
    sights = [
        {target.identity: (target.kind, target.rgb) for target in world.truth(time_s).targets if target.rgb.whole}
        for time_s in times_s.tolist()
    ]
    measured = measured_attributes(sights, definition.target, (120, 160), 0.25)
    assert definition.attributes == measured | {definition.condition, "camera_motion"}


def test_thermal_frames_are_brought_onto_the_target():
    definition = short("day_crossing", frames=1, start_s=3.0)
    sequence = SyntheticSequence(definition)
    (aligned,), (raw,) = sequence.frames(), SyntheticSequence(definition, raw_thermal=True).frames()
    assert (raw.thermal.size, aligned.thermal.size) == ((256, 320), aligned.rgb.size)
    warped = cv2.warpPerspective(raw.thermal.pixels, sequence.rgb_from_thermal, (640, 480))
    difference = cv2.absdiff(aligned.thermal.pixels, warped)[8:-8, 8:-8]
    assert difference.max() <= 2
    targets = SyntheticWorld(definition.world).truth(3.0).targets
    target = next(item for item in targets if item.identity == definition.target)
    mask = target.thermal.mask.astype(np.uint8)
    on_rgb = cv2.warpPerspective(mask, sequence.rgb_from_thermal, (640, 480)) > 0
    resized = cv2.resize(mask, (640, 480)) > 0
    overlap, without = (
        (other & target.rgb.mask).sum() / (other | target.rgb.mask).sum() for other in (on_rgb, resized)
    )
    assert overlap > 0.75
    assert without < 0.5


def test_boxes_end_at_the_edge_of_the_image_and_a_target_beyond_it_is_absent():
    definition = short("day_leaves_view", frames=4, start_s=35.6, rate_hz=2.5)
    sequence = SyntheticSequence(definition)
    assert sequence.absent.any() and not sequence.absent.all()
    assert np.isnan(sequence.boxes[sequence.absent]).all()
    edges = sequence.boxes[~sequence.absent]
    assert ((edges[:, :2] >= 0) & (edges[:, :2] + edges[:, 2:] <= (640, 480)) & (edges[:, 2:] > 0)).all()
    assert ((edges[:, 0] + edges[:, 2]) == 640).any()


def test_what_was_rendered_is_kept_until_the_definition_changes(tmp_path, monkeypatch):
    definition = short("glare_crossing", frames=2)
    fresh = list(SyntheticSequence(definition).frames())
    first = SyntheticSequence(definition, tmp_path)
    boxes = first.boxes
    assert [path.name.startswith("glare_crossing-") for path in tmp_path.iterdir()] == [True]
    monkeypatch.setattr(SyntheticSequence, "_rendered", lambda self: pytest.fail("rendered again"))
    again = SyntheticSequence(replace(definition, attributes=frozenset()), tmp_path)
    np.testing.assert_array_equal(again.boxes, boxes)
    for kept, rendered in zip(again.frames(), fresh, strict=True):
        np.testing.assert_array_equal(kept.rgb.pixels, rendered.rgb.pixels)
        np.testing.assert_array_equal(kept.thermal.pixels, rendered.thermal.pixels)
        assert kept.rgb.stamp_ns == kept.thermal.stamp_ns == rendered.rgb.stamp_ns
    for change in ({"start_s": 2.5}, {"degradations": ""}, {"obstacles": (Obstacle("van", 0.0, 12.0),)}):
        with pytest.raises(pytest.fail.Exception, match="rendered again"):
            next(SyntheticSequence(replace(definition, **change), tmp_path).frames())
    assert len(list(tmp_path.iterdir())) == 1  # what broke off left nothing behind
    (image,) = tmp_path.glob("*/rgb/0001.png")
    image.write_bytes(b"")
    with pytest.raises(ImageError, match=r"0001\.png: cannot be read; delete"):
        list(again.frames())
