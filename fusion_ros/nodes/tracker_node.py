"""tracker_node: fused features and a box in, the target's box in every frame out.

Subscriptions only store; one worker thread decodes the newest features, follows the targets and publishes. The
node is a lifecycle node that activates itself unless ``autostart`` is false.
"""

from __future__ import annotations

import dataclasses
import time
import traceback
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from ..errors import FusionError, SettingsError
from ..features import decode_features
from ..ros import parameters
from ..ros.diagnostics import diagnostic_array
from ..ros.messages import stamp_ns
from ..ros.statistics import Statistics
from ..ros.tracking_diagnostics import TrackingSnapshot, silence, tracking_statuses
from ..ros.tracks import TracksReport
from ..ros.worker import Worker
from ..settings import Settings, setting
from ..tracking import TrackerSettings
from .spinning import StoppableNode, explained, run_lifecycle_node
from .tracker_inputs import LAYERS, BoxInput, FeatureInput, FeatureQos
from .tracker_outputs import TrackerOutputs
from .tracker_picture import TracksPicture
from .tracker_targets import BoxRequest, TargetCounts, Targets

__all__ = ["TrackerNode", "TrackerNodeSettings", "main"]

_WATCH_PERIOD_S = 0.1
_FARTHEST_PX = 65535.0


@dataclass(frozen=True)
class TrackerNodeSettings(Settings):
    """All parameters of tracker_node."""

    modality: str = setting(
        "fused",
        "What targets are followed in: the fused features, or those of the RGB or the thermal camera alone.",
        choices=tuple(LAYERS),
        read_only=True,
    )
    initial_box: tuple[float, ...] = setting(
        (),
        "Box x, y, width, height of a target in the reference image; a target is started there at activation, by "
        "each change, and by ~/start. Empty: none.",
        unit="px",
        bounds=(-_FARTHEST_PX, _FARTHEST_PX),
        element=float,
    )
    max_targets: int = setting(
        1,
        "How many targets are followed at once; a single one is replaced by the next.",
        bounds=(1, 64),
        read_only=True,
    )
    box_tolerance_s: float = setting(
        1.0,
        "Largest difference between the stamp of an initial box and that of the features it is used on.",
        unit="s",
        bounds=(0.0, 60.0),
    )
    camera_timeout_s: float = setting(
        2.0,
        "Silence of the features after which tracks without a target are published, as often again.",
        unit="s",
        bounds=(0.1, 60.0),
    )
    tracker: TrackerSettings = setting(
        TrackerSettings(), "How targets are followed; changes hold for those that are started after them."
    )
    qos: FeatureQos = setting(FeatureQos(), "Quality of service of features and tracks.")
    autostart: bool = setting(
        True, "Configure and activate at start, without a lifecycle manager.", read_only=True
    )
    diagnostics_period_s: float = setting(
        1.0, "Time between two diagnostics messages.", unit="s", bounds=(0.1, 60.0), read_only=True
    )

    def check(self) -> None:
        """Refuse an initial box that is no box."""
        box = self.initial_box
        if box and (len(box) != 4 or min(box[2:]) <= 0.0):
            raise SettingsError(
                "initial_box: expected four numbers x, y, width, height with a width and a height above 0, or "
                f"none, got {list(box)}"
            )


class TrackerNode(StoppableNode):
    """Follows targets through a stream of features; the module's docstring tells the structure."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__("tracker_node", **node_options)
        self.settings = parameters.declare(self, TrackerNodeSettings, changeable=True)
        self.statistics = Statistics()
        self._configured = False
        self._inputs: FeatureInput | None = None
        self._boxes: BoxInput | None = None
        self._targets: Targets | None = None
        self._worker: Worker[Image] | None = None
        self._latest: TracksReport | None = None
        self._heard_s = self._told_s = 0.0  # of features and of tracks, on the monotonic clock
        self._timers_while_active: list[Any] = []
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.publish_diagnostics_every(self.settings.diagnostics_period_s)
        self.create_service(Trigger, "~/start", self._on_start)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.add_on_set_parameters_callback(self._on_parameters)

    @explained
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Create the publishers."""
        self.publish_diagnostics_every(self.settings.diagnostics_period_s)
        self._outputs = TrackerOutputs(self, self.settings.qos, self.settings.modality)
        self._picture = TracksPicture(self, self.settings.qos, self._report)
        self._configured = True
        return TransitionCallbackReturn.SUCCESS

    @explained
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen for features and boxes, and start the worker; with an initial box, ask for its target."""
        settings = self.settings
        self._targets = Targets(settings.tracker, settings.max_targets, settings.box_tolerance_s, self._tell)
        self._worker = Worker(self._track, self._on_failure)
        self._heard_s = self._told_s = time.monotonic()
        self._latest = None
        self._inputs = FeatureInput(self, settings.modality, settings.qos, self._on_features, self._report)
        self._boxes = BoxInput(self, self._targets.request)
        self._timers_while_active = [self.create_timer(_WATCH_PERIOD_S, self._on_watch, clock=self.steady)]
        if settings.initial_box:
            self._request_initial_box()
        self.get_logger().info(f"active: awaiting features, described on {self._inputs.description_topic}")
        return super().on_activate(state)

    def _stop(self) -> None:
        """Stop listening, finish the features in hand and forget the targets."""
        for inputs in (self._inputs, self._boxes):
            if inputs is not None:
                inputs.destroy()
        for timer in self._timers_while_active:
            self.destroy_timer(timer)
        self._timers_while_active = []
        if self._worker is not None and self._worker.stop() is not None:
            self.statistics.count("abandoned")
        if self._configured:
            self._picture.stop()
        self._worker, self._inputs, self._boxes, self._targets, self._latest = None, None, None, None, None

    def _free(self) -> None:
        """Free the publishers."""
        if self._configured:
            self._configured = False
            self._outputs.destroy()
            self._picture.destroy()

    def _on_features(self, message: Image) -> None:
        self.statistics.count("received")
        self.statistics.tick("features")
        self._heard_s = time.monotonic()
        if self._worker is not None and self._worker.submit(message) is not None:
            self.statistics.count("overwritten")

    def _track(self, message: Image) -> None:
        # The worker lives between activate and deactivate.
        assert self._inputs is not None and self._targets is not None
        inputs = self._inputs
        assert inputs.description is not None and inputs.layer is not None  # nothing is subscribed to without
        start = time.perf_counter()
        grid = decode_features(message, inputs.description, inputs.layer.name)
        decoded = time.perf_counter()
        stamp = stamp_ns(message.header.stamp)
        report = self._targets.step(grid, stamp, message.header.frame_id)
        followed = time.perf_counter()
        self._publish(report)
        self._picture.add(report)
        end = time.perf_counter()
        self.statistics.count("tracked")
        self.statistics.tick("tracked")
        self.statistics.time(
            {
                "decode": (decoded - start) * 1e3,
                "update": (followed - decoded) * 1e3,
                "publish": (end - followed) * 1e3,
                "age at publish": (self.get_clock().now().nanoseconds - stamp) / 1e6,
            }
        )

    def _publish(self, report: TracksReport) -> None:
        self._latest = report
        self._told_s = time.monotonic()
        self._outputs.publish(report)

    def _on_failure(self, message: Image, error: Exception) -> None:
        self.statistics.count("unreadable")
        self._report("features", error)
        if self._targets is not None:
            self._publish(
                self._targets.blind(stamp_ns(message.header.stamp), message.header.frame_id, f"features: {error}")
            )

    def _on_watch(self) -> None:
        self._picture.watch()
        now_s, timeout_s = time.monotonic(), self.settings.camera_timeout_s
        if min(now_s - self._heard_s, now_s - self._told_s) < timeout_s:
            return
        assert self._inputs is not None and self._targets is not None  # the timer lives as long as they do
        latest = self._latest
        if latest is None:
            stamp, frame_id = self.get_clock().now().nanoseconds, ""
        else:
            # In the time of the features, whatever clock that is.
            stamp, frame_id = latest.stamp_ns + round((now_s - self._told_s) * 1e9), latest.frame_id
        reason = silence(self._inputs.topic, self._inputs.description_topic, now_s - self._heard_s)
        self._publish(self._targets.blind(stamp, frame_id, reason))

    def _request_initial_box(self) -> None:
        assert self._targets is not None  # active
        x, y, width, height = self.settings.initial_box
        self._targets.request(BoxRequest((x, y, width, height), "initial_box"))

    def _on_start(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._targets is None:
            response.message = "the node is not active; activate it first"
        elif not self.settings.initial_box:
            response.message = "there is no box to start from; set initial_box to x, y, width, height"
        else:
            self._request_initial_box()
            response.success = True
            response.message = f"a target is started at {list(self.settings.initial_box)} with the next features"
        return response

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        stopped = self._targets.stop() if self._targets is not None else 0
        response.success = True
        response.message = f"{stopped} target{'' if stopped == 1 else 's'} given up"
        return response

    def _on_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            changed = parameters.updated(self.settings, changes, configured=self._configured)
        except FusionError as error:
            return parameters.reject(SettingsError(str(error)))
        before, self.settings = self.settings, changed
        if self._targets is not None:
            self._targets.configure(changed.tracker, changed.box_tolerance_s)
            if changed.initial_box and changed.initial_box != before.initial_box:
                self._request_initial_box()
        return SetParametersResult(successful=True)

    def _tell(self, text: str, is_warning: bool) -> None:
        logger = self.get_logger()
        if is_warning:
            logger.warning(text)
        else:
            logger.info(text)

    def _report(self, kind: str, error: Exception) -> None:
        if self.statistics.problem(kind, str(error)):
            self.get_logger().warning(f"{kind}: {error} (said once; counted in diagnostics)")
        if not isinstance(error, FusionError):
            trace = "".join(traceback.format_exception(error))
            self.get_logger().error(f"a defect of fusion_ros, please report it: {trace}", throttle_duration_sec=10)

    def publish_diagnostics(self) -> None:
        """Publish the node's counts, rates, stage times and problems."""
        inputs = self._inputs
        counts = self._targets.counts if self._targets is not None else TargetCounts()
        snapshot = TrackingSnapshot(
            node=self.get_fully_qualified_name(),
            statistics=self.statistics,
            modality=self.settings.modality,
            active=inputs is not None,
            topic=inputs.topic if inputs is not None else "",
            description_topic=inputs.description_topic if inputs is not None else "",
            description=inputs.description if inputs is not None else None,
            layer=inputs.layer if inputs is not None else None,
            silent_s=time.monotonic() - self._heard_s,
            timeout_s=self.settings.camera_timeout_s,
            report=self._latest,
            counts={f"targets {name}".replace("_", " "): n for name, n in dataclasses.asdict(counts).items()},
        )
        self._diagnostics.publish(
            diagnostic_array(self.get_clock().now().nanoseconds, tracking_statuses(snapshot))
        )


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; return the process's exit code."""
    return run_lifecycle_node(TrackerNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
