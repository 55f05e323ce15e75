"""From two cameras that look at a street to a track: feature_node and tracker_node over real DDS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from live_rig import RGB_TOPIC, SECOND, THERMAL_TOPIC, LiveRig
from rclpy.parameter import Parameter
from std_msgs.msg import String

from fusion_ros.nodes import fusion_node
from fusion_ros.nodes.feature_node import FeatureNode
from fusion_ros.nodes.tracker_node import TrackerNode
from fusion_ros.synthetic import SyntheticWorld, WorldSettings
from fusion_ros.tracking import Box, overlap

FRAMES, RATE_HZ, START_S, TARGET = 13, 6.0, 1.0, 1
CHECKED = 4  # of so many frames one: truth takes longer than the picture
LEAST_OVERLAP = 0.4  # a pedestrian of 23 x 44 pixels: this allows an error of a fifth of it on each axis
MODEL = "fused_features"  # the one that feature_node offers by default


@pytest.fixture(scope="module")
def street() -> SyntheticWorld:
    """A pedestrian who crosses the street, seen in half the usual size."""
    sizes = {"rgb_width": 320, "rgb_height": 240, "thermal_width": 160, "thermal_height": 128}
    return SyntheticWorld(WorldSettings(seed=25, cars=8, camera_motion="sway", **sizes))


class Street(LiveRig):
    """The street's cameras, a feature node and a tracker node."""

    def __init__(self, namespace: str, world: SyntheticWorld) -> None:
        super().__init__(namespace)
        self.world = world
        self.tracker: Any = None
        self.states: dict[int, dict[str, Any]] = {}
        self.node.create_subscription(String, "tracks/state", self._on_state, 50)

    def _on_state(self, message: String) -> None:
        state = json.loads(message.data)
        self.states[state["stamp_ns"]] = state

    def follow(self, modality: str, **parameters: Any) -> None:
        """Start both nodes, the tracker at the true box of the first frame."""
        homography = self.world.rig.homography(10.0).ravel().tolist()
        chosen = {"features.model": MODEL, "alignment.mode": "homography", "alignment.homography": homography}
        # In 8 bits a map fits into the shared memory of DDS; a larger one goes over UDP, and in parts.
        self.start(**chosen, engine__name="torch", features__encoding="8U", **parameters)
        values = {"modality": modality, "initial_box": list(self.truth(0)), "camera_timeout_s": 30.0}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.tracker = TrackerNode(namespace=self.namespace, parameter_overrides=overrides)
        self.executor.add_node(self.tracker)
        assert self.tracker.trigger_configure().name == "SUCCESS"
        assert self.tracker.trigger_activate().name == "SUCCESS"
        self.until(lambda: self.fusion._outputs.wanted().features)

    def truth(self, index: int) -> Box:
        """Return the target's true box."""
        (target,) = (t for t in _truth(self.world, index).targets if t.identity == TARGET)
        return target.rgb.whole

    def show(self, index: int, thermal: bool = True) -> dict[str, Any]:
        """Let the cameras take a frame, and return the state of the tracks in it."""
        stamp = SECOND + round(index / RATE_HZ * SECOND)
        rgb, infrared = _images(self.world, index)
        self.send(RGB_TOPIC, rgb, "rgb8", stamp)
        if thermal:
            self.send(THERMAL_TOPIC, infrared, "mono8", stamp)
        self.until(lambda: stamp in self.states)
        return self.states[stamp]

    def close(self) -> None:
        """Take everything down."""
        if self.tracker is not None:
            self.tracker.trigger_shutdown()
            self.tracker.destroy_node()
        super().close()


@lru_cache(maxsize=2 * FRAMES)
def _truth(world: SyntheticWorld, index: int) -> Any:
    return world.truth(START_S + index / RATE_HZ)


@lru_cache(maxsize=2 * FRAMES)
def _images(world: SyntheticWorld, index: int) -> tuple[np.ndarray, np.ndarray]:
    time_s = START_S + index / RATE_HZ
    return world.rgb_image(time_s), world.thermal_image(time_s)


@pytest.fixture
def live(context, request, street, monkeypatch, one_thread) -> Iterator[Street]:
    """The street's rig in a namespace of its own."""
    monkeypatch.setattr(fusion_node, "FusionNode", FeatureNode)
    rig = Street(f"/e{abs(hash(request.node.name)) % 10**8}", street)
    yield rig
    rig.close()


@pytest.mark.parametrize("modality", ["rgb", "thermal", "fused"])
def test_a_pedestrian_is_followed_across_the_street(live, modality):
    live.follow(modality)
    for index in range(FRAMES):
        state = live.show(index)
        assert state["state"] == "tracking", state["reason"]
        assert state["frame_id"] == "rgb_optical_frame"
        if index % CHECKED == 0:
            box = tuple(state["tracks"][0]["box"].values())
            assert overlap(box, live.truth(index)) > LEAST_OVERLAP
    moved = np.subtract(live.truth(index)[:2], live.truth(0)[:2])
    assert np.hypot(*moved) > 2 * live.truth(0)[2]  # standing still would not have done


def test_when_the_thermal_camera_falls_silent_the_track_goes_on(live):
    live.follow("rgb", pairing__unpaired="forward")
    slowest_s = 0.0
    for index in range(4):
        start = time.monotonic()
        live.show(index)
        slowest_s = max(slowest_s, time.monotonic() - start)
    # A camera counts as silent after twice its usual interval; until then the other one's frames wait for it, and
    # are dropped at last. From one arrival to the next up to two frames' time passes: the one's wait, the other's
    # rendering.
    live.spin(5.0 * slowest_s)
    for index in range(4, 10):
        state = live.show(index, thermal=False)
        assert state["state"] == "tracking", state["reason"]
    assert overlap(tuple(state["tracks"][0]["box"].values()), live.truth(9)) > LEAST_OVERLAP
