"""Publishers of features and images around one tracker node, all in the test process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PolygonStamped
from live_rig import SECOND
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import String
from std_srvs.srv import Trigger

from fusion_ros.features import FeatureDescription, LayerDescription
from fusion_ros.nodes.tracker_node import TrackerNode
from fusion_ros.ros import qos
from fusion_ros.ros.messages import header, image_message
from fusion_ros.ros.tracks import vision_messages
from fusion_ros.tracking import Box

STRIDE, CHANNELS = 4, 6
SIZE = (160, 240)  # of the image, (H, W)
SIDE = 8  # of the target, cells
STEP = 100_000_000
LAYERS = ("fused", "infrared", "visible")


class Scene:
    """Feature maps of a patch before a ground, both random and smooth; the patch is where it is told to be."""

    def __init__(self, seed: int = 0, size: tuple[int, int] = SIZE) -> None:
        self.size = size
        rng = np.random.default_rng(seed)
        self.ground = _smooth(rng, size[0] // STRIDE, size[1] // STRIDE)
        self.patch = _smooth(rng, SIDE, SIDE)

    def values(self, x: int, y: int = 12, hidden: bool = False) -> np.ndarray:
        """Return the map with the patch's first cell at ``(x, y)``."""
        values = self.ground.copy()
        if not hidden:
            values[y : y + SIDE, x : x + SIDE] = self.patch
        return values

    @staticmethod
    def box(x: int, y: int = 12) -> Box:
        """Return the patch's box in pixels."""
        return float(STRIDE * x), float(STRIDE * y), float(STRIDE * SIDE), float(STRIDE * SIDE)


def _smooth(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    noise = rng.normal(size=(rows + 1, columns + 1, CHANNELS))
    return (noise[1:, 1:] + noise[:-1, 1:] + noise[1:, :-1] + noise[:-1, :-1]).astype(np.float32)


class TrackerRig:
    """Publishers of features and images around one tracker node, and listeners to all that it says."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.node = rclpy.create_node("rig", namespace=namespace)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.tracker: Any = None
        self.states: list[dict[str, Any]] = []
        self.shown: list[Any] = []  # the targets in sight, as detections or polygons
        self.diagnostics: dict[str, dict[str, str]] = {}
        self.levels: dict[str, tuple[bytes, str]] = {}
        topics = {
            name: f"fused/features/{name}" if index else "fused/features" for index, name in enumerate(LAYERS)
        }
        self.features = {name: self.node.create_publisher(Image, topic, 10) for name, topic in topics.items()}
        self.described = self.node.create_publisher(String, "fused/features/description", qos.latched())
        self.images = self.node.create_publisher(Image, "fused/image", 10)
        self.regions = self.node.create_publisher(RegionOfInterest, "tracker_node/init", 10)
        self.node.create_subscription(String, "tracks/state", self._on_state, 50)
        vision = vision_messages()
        kind, topic = (vision.Detection2DArray, "tracks") if vision else (PolygonStamped, "tracks/polygon")
        self.node.create_subscription(kind, topic, self.shown.append, 50)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _on_state(self, message: String) -> None:
        self.states.append(json.loads(message.data))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name, _, concern = status.name.rpartition(": ")
            if name == f"{self.namespace}/tracker_node":
                self.diagnostics[concern] = {pair.key: pair.value for pair in status.values}
                self.levels[concern] = (status.level, status.message)

    def start(self, autostart: bool = True, **parameters: Any) -> Any:
        """Make the node with parameters whose dots are written as double underscores."""
        values = {"diagnostics_period_s": 0.1, "camera_timeout_s": 30.0}
        values |= {name.replace("__", "."): value for name, value in parameters.items()}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.tracker = TrackerNode(namespace=self.namespace, parameter_overrides=overrides)
        self.executor.add_node(self.tracker)
        if autostart:
            assert self.tracker.trigger_configure().name == "SUCCESS"
            assert self.tracker.trigger_activate().name == "SUCCESS"
        return self.tracker

    def told(self, concern: str, key: str) -> str:
        """Return what the latest diagnostics say."""
        return self.diagnostics.get(concern, {}).get(key, "")

    def warned(self, concern: str) -> str:
        """Return the latest warning, empty where there is none."""
        level, text = self.levels.get(concern, (b"\x00", ""))
        return text if level == b"\x01" else ""

    def set(self, **values: Any) -> Any:
        """Change parameters, and return the node's answer."""
        changes = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        return self.tracker.set_parameters(changes)[0]

    def describe(self, size: tuple[int, int] = SIZE, names: tuple[str, ...] = LAYERS) -> None:
        """Publish what the features are, and wait until the node listens to them."""
        layers = tuple(
            LayerDescription(n, self.features[n].topic_name, STRIDE, CHANNELS, "A map.", f"32FC{CHANNELS}", size)
            for n in names
        )
        self.described.publish(String(data=FeatureDescription("tiny", "rfvif", None, layers).to_json()))
        self.until(lambda: any(p.get_subscription_count() for p in self.features.values()))
        self.until(lambda: self.tracker._inputs.description.layers[0].image_size == size)

    def send(self, values: np.ndarray, stamp: int, layer: str = "fused") -> dict[str, Any]:
        """Publish one map and return the state of its stamp."""
        head = header(stamp, "rgb_optical_frame")
        self.features[layer].publish(image_message(values, f"32FC{values.shape[2]}", head))
        before = len(self.states)
        self.until(lambda: any(state["stamp_ns"] == stamp for state in self.states[before:]))
        return self.states[-1]

    def follow(self, scene: Scene, columns: Iterable[int], first: int = 1, **options: Any) -> list[dict[str, Any]]:
        """Publish the scene with its patch at each of the columns, and return the states."""
        return [self.send(scene.values(x, **options), SECOND + (first + i) * STEP) for i, x in enumerate(columns)]

    def call(self, service: str) -> Trigger.Response:
        """Call a service of the node."""
        client = self.node.create_client(Trigger, f"{self.namespace}/tracker_node/{service}")
        self.until(client.service_is_ready)
        future = client.call_async(Trigger.Request())
        self.until(future.done)
        return future.result()

    def region(self, box: tuple[float, ...]) -> None:
        """Publish an initial box and wait until the node has it."""
        self.until(lambda: self.regions.get_subscription_count())
        x, y, width, height = map(int, box)
        self.regions.publish(RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height))
        self.until(lambda: self.tracker._targets._requests)

    def until(self, condition: Callable[[], Any], timeout_s: float = 15.0) -> None:
        """Spin until ``condition`` holds; fail when it never does."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            self.executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        """Take everything down."""
        if self.tracker is not None:
            self.tracker.trigger_shutdown()
            self.tracker.destroy_node()
        self.node.destroy_node()
        self.executor.shutdown()


def box_of(state: dict[str, Any], index: int = 0) -> Box:
    """Return the box of one of the targets in a state."""
    box = state["tracks"][index]["box"]
    return box["x"], box["y"], box["width"], box["height"]


def boxes_shown(message: Any) -> list[Box]:
    """Return the boxes in a message of targets in sight: of each detection, or of the polygon with its corners."""
    if isinstance(message, PolygonStamped):
        xs, ys = [p.x for p in message.polygon.points], [p.y for p in message.polygon.points]
        return [(min(xs) + 0.5, min(ys) + 0.5, max(xs) - min(xs), max(ys) - min(ys))] if xs else []
    boxes = [detection.bbox for detection in message.detections]
    return [
        (b.center.position.x - (b.size_x - 1) / 2, b.center.position.y - (b.size_y - 1) / 2, b.size_x, b.size_y)
        for b in boxes
    ]
