"""A thermal camera that repeats its images, and the trackers: who follows what, and who loses it."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
from moving_target import MovingTarget

from fusion_ros.cli import track
from fusion_ros.evaluation.conditions import Condition
from fusion_ros.evaluation.tracking import TrackingPlan, parse_trackers
from fusion_ros.evaluation.tracking.run import run
from fusion_ros.evaluation.tracking.trackers import TrackingFusionSettings, feature_settings
from fusion_ros.metrics.tracking import overlap
from fusion_ros.pipeline import FusionSettings
from fusion_ros.synthetic.degrade import Degradation

FROZEN = Condition(Degradation("thermal_frozen", 8.0))
NAMES = ("rgb", "thermal", "fused")


def _overlaps(folder, repeated: str) -> dict[str, np.ndarray]:
    """Overlaps of each tracker with a target that moves by two pixels a frame."""
    sequence = MovingTarget(count=24)
    settings = FusionSettings.from_mapping({"engine.threads": 1})
    plan = TrackingPlan((sequence,), parse_trackers(NAMES, repeated=repeated), (FROZEN,), settings)
    evaluation = run(plan, folder, facts={})
    assert not evaluation.problems
    runs = {name: evaluation.run(name, FROZEN.name, sequence.name) for name in NAMES}
    return {name: overlap(found.boxes, sequence.places) for name, found in runs.items()}


def test_alone_follows_the_camera_that_goes_on_and_fuse_sees_the_target_twice(tmp_path):
    alone, fuse = (_overlaps(tmp_path / repeated, repeated) for repeated in ("alone", "fuse"))
    assert alone["fused"].min() > 0.8
    assert fuse["fused"].mean() < 0.75 and fuse["fused"].min() < 0.6
    # Trackers of one camera stay what they are called.
    for name in ("rgb", "thermal"):
        np.testing.assert_array_equal(alone[name], fuse[name])
    assert alone["rgb"].min() > 0.8 and alone["thermal"].min() < 0.5


def test_trackers_of_one_camera_get_features_of_their_own():
    rgb, thermal, fused = parse_trackers(NAMES)
    assert [one.repeated for one in (rgb, thermal, fused)] == ["fuse", "fuse", "alone"]
    assert rgb.features == thermal.features != fused.features
    plan = TrackingPlan((MovingTarget(),), (rgb, thermal, fused))
    assert [(part.settings.repeated, len(part.trackers)) for part in plan.parts()] == [("fuse", 2), ("alone", 1)]
    wanted = parse_trackers(NAMES, repeated="fuse")
    assert len({tracker.features for tracker in wanted}) == 1


def test_another_choice_is_another_result():
    digests = {
        part.digest("")
        for repeated in ("alone", "fuse")
        for part in TrackingPlan((MovingTarget(),), parse_trackers(["fused"], repeated=repeated)).parts()
    }
    assert len(digests) == 2


def test_features_take_the_trackers_choice_whatever_the_other_settings_say():
    rgb, fused = parse_trackers(["rgb", "fused"])
    for settings in (FusionSettings(), TrackingFusionSettings()):
        assert feature_settings(settings, rgb.features, ["visible"]).repeated == "fuse"
        assert feature_settings(settings, fused.features, ["fused"]).repeated == "alone"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "alone"),
        (["--repeated", "fuse"], "fuse"),
        (["--features.model", "rfn_nest", "--features.layers", "fused_3"], "alone"),
        (["--modality", "rgb"], "fuse"),
        (["--modality", "thermal", "--repeated", "alone"], "fuse"),
        (["--features.layers", "infrared"], "fuse"),
    ],
)
def test_track_lets_a_repeated_image_out_unless_one_camera_is_followed_or_it_is_told_otherwise(options, expected):
    parser = argparse.ArgumentParser()
    track.add_arguments(parser)
    settings, _ = track._settings(parser.parse_args(options))
    assert settings.repeated == expected
