"""synthetic_camera_node: the two cameras of the synthetic world, live.

A robot to try things on when there is none: images and camera_info of both cameras, at their own
rates, on the topics that fusion_node listens to.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from ..frame import Sensor
from ..ros import parameters, qos
from ..ros.messages import header, image_message
from ..settings import Settings, setting
from ..synthetic import SyntheticWorld, WorldSettings
from ..synthetic.stream import capture_frame
from .spinning import run_node

__all__ = ["SyntheticCameraNode", "SyntheticCameraSettings", "main"]


@dataclass(frozen=True)
class SyntheticCameraSettings(Settings):
    """All parameters of synthetic_camera_node."""

    world: WorldSettings = setting(WorldSettings(), "The world and the cameras that look at it.")
    reliability: str = setting(
        "reliable", "Reliability of the publishers.", choices=("best_effort", "reliable"), read_only=True
    )
    depth: int = setting(5, "Queue depth of the publishers.", bounds=(1, 100), read_only=True)


class SyntheticCameraNode(Node):
    """Renders and publishes in one thread; a frame that would come late is skipped, as a camera would."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__("synthetic_camera_node", **node_options)
        self.settings = parameters.declare(self, SyntheticCameraSettings)
        self._world = SyntheticWorld(self.settings.world)
        profile = qos.profile(self.settings.reliability, self.settings.depth)
        self._images = {s: self.create_publisher(Image, f"{s.value}/image_raw", profile) for s in Sensor}
        self._infos = {s: self.create_publisher(CameraInfo, f"{s.value}/camera_info", profile) for s in Sensor}
        world = self.settings.world
        self._period_s = {Sensor.RGB: 1 / world.rgb_rate_hz, Sensor.THERMAL: 1 / world.thermal_rate_hz}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cameras", daemon=True)
        self._thread.start()
        self.get_logger().info(f"a synthetic street by {world.condition}, seed {world.seed}")

    def _run(self) -> None:
        start = time.monotonic()
        due = dict.fromkeys(Sensor, 0.0)
        while True:
            sensor = min(due, key=lambda s: due[s])
            if self._stop.wait(max(0.0, start + due[sensor] - time.monotonic())):
                return
            late_s = time.monotonic() - start - due[sensor]
            if late_s < self._period_s[sensor]:
                self._publish(sensor, due[sensor], late_s)
            else:
                self.get_logger().warning(
                    f"{sensor.value}: rendering cannot keep {1 / self._period_s[sensor]:g} Hz on this machine and "
                    f"skips frames; lower world.{sensor.value}_rate_hz or the image size",
                    throttle_duration_sec=10,
                )
            due[sensor] += self._period_s[sensor]

    def _publish(self, sensor: Sensor, world_time_s: float, late_s: float) -> None:
        if not self._images[sensor].get_subscription_count() + self._infos[sensor].get_subscription_count():
            return
        # The stamp is the time of capture, not of rendering: else the cameras drift apart on a slow machine.
        stamp_ns = self.get_clock().now().nanoseconds - round(late_s * 1e9)
        frame = capture_frame(self._world, sensor, world_time_s, stamp_ns)
        head = header(frame.stamp_ns, frame.frame_id)
        self._images[sensor].publish(image_message(frame.pixels, frame.encoding, head))
        camera = self._world.rig.rgb if sensor is Sensor.RGB else self._world.rig.thermal
        self._infos[sensor].publish(CameraInfo(header=head, **camera.camera_info_fields()))

    def close(self) -> None:
        """Stop rendering."""
        self._stop.set()
        self._thread.join()


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; return the process's exit code."""
    return run_node(SyntheticCameraNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
