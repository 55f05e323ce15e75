"""tracks/image: the fused image, or whichever is remapped to its place, with the boxes drawn into it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from rclpy.lifecycle import LifecycleNode
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image

from ..errors import ImageError
from ..evaluation.tracking.pictures import as_picture, draw_box, draw_label
from ..ros import qos
from ..ros.messages import check, decode, image_message, stamp_ns
from ..ros.tracks import TracksReport
from ..ros.worker import Worker
from ..tracking import TrackStatus

__all__ = ["TracksPicture"]

T = TypeVar("T")

_TOPIC = "fused/image"
_WAITING = 16  # half a second at 30 Hz: features are later than the images that they were made of
_COLOURS = {TrackStatus.TRACKING: (0, 220, 120), TrackStatus.LOST: (255, 120, 0)}
_PLAIN = (255, 255, 255)


class _Drawing(NamedTuple):
    """An image and what is to be drawn into it."""

    image: Image
    report: TracksReport


class TracksPicture:
    """Draws while somebody looks on, in a thread of its own; to begin and to end with :meth:`watch`.

    Args:
        node: Whose publisher and subscription they are.
        settings: Reliability and depth of the publisher.
        report: Told what is wrong, by its kind.
    """

    def __init__(
        self, node: LifecycleNode, settings: qos.QosSettings, report: Callable[[str, Exception], None]
    ) -> None:
        self._node = node
        self._report = report
        self._publisher = node.create_lifecycle_publisher(
            Image, "tracks/image", qos.profile(settings.output_reliability, settings.output_depth)
        )
        self._lock = threading.Lock()
        self._images, self._reports = _Latest[Image](), _Latest[TracksReport]()
        self._subscription: Subscription | None = None
        self._worker: Worker[_Drawing] | None = None

    def watch(self) -> None:
        """Subscribe to the image while ``tracks/image`` has a subscriber; to be called by the executor."""
        is_wanted = self._publisher.get_subscription_count() > 0
        if is_wanted and self._subscription is None:
            self._worker = Worker(self._draw, self._on_failure)
            # Best effort matches every camera, and a frame lost is only a picture not drawn.
            self._subscription = self._node.create_subscription(
                Image,
                _TOPIC,
                self._on_image,
                qos.profile("best_effort", _WAITING),
                qos_overriding_options=qos.overriding(),
            )
        elif not is_wanted:
            self.stop()

    def stop(self) -> None:
        """Let go of the image, until :meth:`watch` sees somebody look on."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
        with self._lock:
            worker, self._worker = self._worker, None
            self._images.clear()
            self._reports.clear()
        if worker is not None:
            worker.stop()

    def add(self, report: TracksReport) -> None:
        """Hand over what is to be drawn into the image of the same stamp, which may come later."""
        with self._lock:
            if self._worker is not None:
                self._reports.put(report.stamp_ns, report)
                self._match(report.stamp_ns)

    def _on_image(self, message: Image) -> None:
        stamp = stamp_ns(message.header.stamp)
        with self._lock:
            self._images.put(stamp, message)
            self._match(stamp)

    def _match(self, stamp: int) -> None:
        if stamp in self._images and stamp in self._reports:
            drawing = _Drawing(self._images.pop(stamp), self._reports.pop(stamp))
            if self._worker is not None:
                self._worker.submit(drawing)
        elif len(self._images) == len(self._reports) == _WAITING:
            self._images.clear()
            self._reports.clear()
            self._report(
                "tracks/image",
                ImageError(
                    f"of {_WAITING} images of {self._node.resolve_topic_name(_TOPIC)} none bears the stamp of "
                    f"features; remap {_TOPIC} to the reference camera's or the fused image"
                ),
            )

    def _draw(self, drawing: _Drawing) -> None:
        check(drawing.image)
        frame = decode(drawing.image)
        assert frame is not None  # there is a message
        report = drawing.report
        if report.image_size is not None and frame.size != report.image_size:
            raise ImageError(
                f"{self._node.resolve_topic_name(_TOPIC)}: expected images of {report.image_size[0]} x "
                f"{report.image_size[1]} (h x w), in which the tracks lie, got {frame.size[0]} x {frame.size[1]}; "
                f"remap {_TOPIC} to the reference camera's or the fused image"
            )
        picture = as_picture(frame.pixels)
        for line, track in enumerate(report.tracks):
            colour = _COLOURS.get(track.status, _PLAIN)
            if track.box is not None:
                draw_box(picture, track.box, colour)
            draw_label(picture, f"{track.identity} {track.status.value} {track.confidence:.2f}", colour, line)
        if not report.tracks:
            draw_label(picture, report.following.value, _PLAIN)
        self._publisher.publish(image_message(picture, "bgr8", drawing.image.header))

    def _on_failure(self, drawing: _Drawing, error: Exception) -> None:
        self._report("tracks/image", error)

    def destroy(self) -> None:
        """Free everything."""
        self.stop()
        self._node.destroy_lifecycle_publisher(self._publisher)


class _Latest(dict[int, T]):
    """The newest items by stamp; one leaves when so many newer ones have come."""

    def put(self, stamp: int, item: T) -> None:
        """Store an item."""
        self.pop(stamp, None)
        self[stamp] = item
        if len(self) > _WAITING:
            del self[next(iter(self))]
