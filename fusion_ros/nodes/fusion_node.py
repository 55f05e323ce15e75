"""fusion_node: two camera topics in, one fused image and fused features out.

Subscriptions only store and pair; one worker thread converts, fuses and publishes the newest pair.
The node is a lifecycle node that activates itself unless ``autostart`` is false.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from typing import Any, ClassVar

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import ClockChange, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from ..errors import AlignmentError, CalibrationError, FusionError, SettingsError
from ..frame import FramePair, Sensor
from ..pipeline import FusionPipeline, FusionResult, FusionSettings, Mode, open_pipeline
from ..ros import parameters, qos
from ..ros.alignment_watch import AlignmentWatch
from ..ros.clock_watch import ClockSettings, ClockWatch
from ..ros.diagnostics import Snapshot, diagnostic_array, fusion_statuses
from ..ros.messages import check, decode, stamp_ns
from ..ros.repeat_watch import RepeatWatch
from ..ros.statistics import Statistics
from ..ros.synchroniser import ApproximatePairer, make_pairer
from ..ros.worker import Worker
from ..settings import setting
from ..timing import OffsetStatistics, Pair, PairingCounts, PairingSettings, StampPairer
from .fusion_cameras import FusionCameras
from .fusion_inputs import FusionInputs, InputSettings
from .fusion_outputs import FusionOutputs
from .spinning import StoppableNode, explained, run_lifecycle_node

__all__ = ["FusionNode", "FusionNodeSettings", "main"]

_EXPIRY_PERIOD_S = 0.05


@dataclass(frozen=True)
class FusionNodeSettings(FusionSettings):
    """All parameters of fusion_node."""

    pairing: PairingSettings = setting(PairingSettings(), "How frames of the two cameras find each other.")
    clock: ClockSettings = setting(ClockSettings(), "How the offset between the cameras' clocks is measured.")
    input: InputSettings = setting(InputSettings(), "How the camera topics are read.")
    qos: qos.QosSettings = setting(qos.QosSettings(), "Quality of service of the image topics.")
    autostart: bool = setting(
        True, "Configure and activate at start, without a lifecycle manager.", read_only=True
    )
    always_compute: bool = setting(False, "Fuse, image and features, even while nobody subscribes to an output.")
    diagnostics_period_s: float = setting(
        1.0, "Time between two diagnostics messages.", unit="s", bounds=(0.1, 60.0), read_only=True
    )


class FusionNode(StoppableNode):
    """Pairs, aligns and fuses two camera streams; the module's docstring tells the structure."""

    NAME: ClassVar[str] = "fusion_node"
    SETTINGS: ClassVar[type[FusionNodeSettings]] = FusionNodeSettings

    def __init__(self, **node_options: Any) -> None:
        super().__init__(self.NAME, **node_options)
        self.settings = parameters.declare(self, self.SETTINGS, changeable=True)
        self.statistics = Statistics()
        self.offsets = OffsetStatistics()
        self._alignment_watch, self._repeat_watch = AlignmentWatch(), RepeatWatch()
        self._clock_watch = ClockWatch(self.settings.clock)
        self._pairer: StampPairer[Any] | ApproximatePairer = StampPairer(self.settings.pairing)
        self._counts_before: PairingCounts | None = None
        self._pipeline: FusionPipeline | None = None
        self._worker: Worker[Pair[Any]] | None = None
        self._description = ", ".join(self.settings.models)
        self._enabled = True
        self._mode = "waiting"  # while active and enabled
        self._active = False
        self._last_arrival: dict[Sensor, float] = {}
        self._inputs: FusionInputs | None = None
        self._cameras: FusionCameras | None = None
        self._timers_while_active: list[Any] = []
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.publish_diagnostics_every(self.settings.diagnostics_period_s)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.add_on_set_parameters_callback(self._on_parameters)
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jump_handle = self.get_clock().create_jump_callback(threshold, post_callback=self._on_time_jump)

    @explained
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and create the publishers."""
        self.publish_diagnostics_every(self.settings.diagnostics_period_s)
        self.get_logger().info(f"loading {', '.join(self.settings.models)}")
        pipeline = open_pipeline(self.settings)
        if self.settings.input.width and self.settings.input.height:
            self.get_logger().info("compiling the engine")
            pipeline.prepare(self.settings.input.height, self.settings.input.width)
        self._replace_pairer(make_pairer(self.settings.pairing))
        self._outputs = FusionOutputs(self, self.settings.qos, pipeline)
        self._pipeline = pipeline
        self._description = pipeline.description
        return TransitionCallbackReturn.SUCCESS

    @explained
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and start the worker."""
        self._inputs = FusionInputs(self, self.settings.input, self.settings.qos, self._on_image)
        self._cameras = FusionCameras(self._inputs, self._report)
        self._alignment_watch, self._repeat_watch = AlignmentWatch(), RepeatWatch()
        self._timers_while_active = [self.create_timer(_EXPIRY_PERIOD_S, self._on_expiry, clock=self.steady)]
        self._worker = Worker(self._fuse, self._on_failure)
        self._pairer.reset()  # what it remembers of arrivals is from before the pause
        self._last_arrival = dict.fromkeys(Sensor, time.monotonic())
        self._active, self._mode = True, "waiting"
        assert self._pipeline is not None  # configured before
        self.get_logger().info(f"active: {self._pipeline.description}")
        activated = super().on_activate(state)
        self._outputs.announce(self.settings.features)  # publishers are silent until now
        return activated

    def _stop(self) -> None:
        """Stop listening, finish the pair in hand and account for the rest."""
        if self._inputs is not None:
            self._inputs.destroy()
        for timer in self._timers_while_active:
            self.destroy_timer(timer)
        self._inputs, self._timers_while_active = None, []
        self._active = False
        if self._worker is not None:
            self._submit(self._pairer.flush(time.monotonic_ns()))
            if self._worker.stop() is not None:
                self.statistics.count("abandoned")
            self._worker = None
        self._cameras = None  # the worker has asked them to its end

    def _free(self) -> None:
        """Free the model and the publishers."""
        if self._pipeline is None:
            return
        self._pipeline.close()
        self._pipeline = None
        self._outputs.destroy()

    def _on_image(self, sensor: Sensor, message: Image | CompressedImage) -> None:
        self.statistics.count(f"received_{sensor.value}")
        self.statistics.tick(sensor.value)
        self._last_arrival[sensor] = time.monotonic()
        if not self._enabled:
            self.statistics.count(f"disabled_{sensor.value}")
            return
        try:
            check(message)
        except FusionError as error:
            self.statistics.count(f"malformed_{sensor.value}")
            self._report(f"{sensor.value} image", error)
            return
        self._submit(self._pairer.add(sensor, message, stamp_ns(message.header.stamp), time.monotonic_ns()))

    def _on_expiry(self) -> None:
        self._submit(self._pairer.expire(time.monotonic_ns()))

    def _submit(self, pairs: list[Pair[Any]]) -> None:
        for pair in pairs:
            if pair.rgb is not None and pair.thermal is not None:
                self.offsets.add(pair.offset_ns)
            if self._worker is not None and self._worker.submit(pair) is not None:
                self.statistics.count("overwritten")

    def _on_time_jump(self, jump: TimeJump) -> None:
        if jump.clock_change in (ClockChange.ROS_TIME_ACTIVATED, ClockChange.ROS_TIME_DEACTIVATED):
            reason = "the clock changed"
        else:
            reason = "time jumped back"
        self.get_logger().info(f"{reason}: starting over with pairing")
        self._pairer.reset()
        self._clock_watch.reset()
        if self._pipeline is not None:
            self._pipeline.reset()

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        self._mode = "waiting"
        response.success = True
        response.message = "fusing" if request.data else "paused: frames are received and dropped"
        return response

    def _on_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            changed = parameters.updated(self.settings, changes, configured=self._pipeline is not None)
            if changed == self.settings:  # someone else's parameter, such as qos_overrides
                return SetParametersResult(successful=True)
            pipeline = None
            if self._pipeline is not None:
                pipeline = self._pipeline.reconfigured(changed)
            pairer = None if changed.pairing == self.settings.pairing else make_pairer(changed.pairing)
        except FusionError as error:
            return parameters.reject(SettingsError(str(error)))
        if pairer is not None:
            self._replace_pairer(pairer)
        if changed.clock != self.settings.clock:
            self._clock_watch = ClockWatch(changed.clock)
        self.settings, self._pipeline = changed, pipeline
        return SetParametersResult(successful=True)

    def _replace_pairer(self, pairer: Any) -> None:
        """Go on with another pairer; the counts of the earlier ones stay in the books."""
        self._submit(self._pairer.flush(time.monotonic_ns()))
        self._counts_before = self._pairing_counts()
        self._pairer = pairer

    def _pairing_counts(self) -> PairingCounts:
        counts = self._pairer.counts
        return counts if self._counts_before is None else self._counts_before.plus(counts)

    def _fuse(self, pair: Pair[Any]) -> None:
        wanted = self._outputs.wanted(always=self.settings.always_compute)
        if not wanted.anything:
            self.statistics.count("idle")
            self._mode = "idle: no subscribers"
            return
        pipeline = self._pipeline
        # The worker lives between activate and deactivate.
        assert pipeline is not None and self._cameras is not None
        start = time.perf_counter()
        frames = FramePair(decode(pair.rgb), decode(pair.thermal), pair.offset_ns)
        decoded = time.perf_counter()
        self._clock_watch.observe(frames)
        self._cameras.hand_in(pipeline, frames)
        observed = time.perf_counter()
        result = pipeline(
            frames,
            with_image=wanted.image,
            with_features=wanted.features,
            with_aligned_thermal=wanted.aligned_thermal,
            with_alignment=wanted.flow,
        )
        fused = time.perf_counter()
        self._outputs.publish(result, frames.thermal, self.settings.features)
        if wanted.flow:
            self._outputs.publish_flow(result)
        end = time.perf_counter()
        if wanted.camera_info:
            self._publish_camera_info(pipeline, result, frames)
        before = {"decode": (decoded - start) * 1e3, "observe": (observed - decoded) * 1e3}
        stages = {**before, **result.stage_ms, "publish": (end - fused) * 1e3}
        self._account(result, stages, (end - start) * 1e3)

    def _account(self, result: FusionResult, stages: dict[str, float], total_ms: float) -> None:
        age_ms = (self.get_clock().now().nanoseconds - result.reference.stamp_ns) / 1e6
        self._mode = result.mode.value
        self.statistics.count(result.mode.value)
        self.statistics.tick("fused")
        self.statistics.time({**stages, "total": total_ms, "age at publish": age_ms})
        is_sought = result.mode is Mode.FUSED and result.repeat is None
        self._alignment_watch.add(result.alignment, is_sought=is_sought)
        self._repeat_watch.add(result)
        if result.alignment is not None and result.alignment.is_new and result.alignment.has_failed:
            self._report("fine alignment", AlignmentError(result.alignment.reason))
        self._outputs.publish_debug(result, total_ms, age_ms)

    def _publish_camera_info(self, pipeline: FusionPipeline, result: FusionResult, frames: FramePair) -> None:
        is_rgb = self.settings.reference == Sensor.RGB.value
        inputs = self._inputs
        info = inputs.camera_info.get(Sensor.RGB if is_rgb else Sensor.THERMAL) if inputs else None
        # A thermal image shown alone is not the RGB camera's: no calibration is better than a wrong one.
        if result.reference is not (frames.rgb if is_rgb else frames.thermal):
            return
        try:
            camera = pipeline.aligner.output_camera(result.size, result.reference.size)
            self._outputs.publish_camera_info(result, info, camera)
        except CalibrationError as error:
            self._report(f"{self.settings.reference} camera_info", error)

    def _on_failure(self, pair: Pair[Any], error: Exception) -> None:
        self.statistics.count("failed")
        self._report("fusing", error)
        if not isinstance(error, FusionError):
            trace = "".join(traceback.format_exception(error))
            self.get_logger().error(f"a defect of fusion_ros, please report it: {trace}", throttle_duration_sec=10)

    def _report(self, kind: str, error: Exception) -> None:
        if self.statistics.problem(kind, str(error)):
            self.get_logger().warning(f"{kind}: {error} (said once; counted in diagnostics)")

    def _topics(self) -> dict[Sensor, str]:
        if self._inputs is not None:
            return self._inputs.topics
        return {sensor: self.resolve_topic_name(f"{sensor.value}/image_raw") for sensor in Sensor}

    def _reported_mode(self) -> str:
        # A pair in hand still ends after a stop, and says then what became of it: that is not the node's state.
        if not self._active:
            return "inactive"
        return self._mode if self._enabled else "disabled"

    def publish_diagnostics(self) -> None:
        """Publish the node's counts, rates, stage times and problems."""
        now = time.monotonic()
        snapshot = Snapshot(
            node=self.get_fully_qualified_name(),
            hardware_id=self._description,
            statistics=self.statistics,
            pairing=self._pairing_counts(),
            offsets=self.offsets,
            pairing_settings=self.settings.pairing,
            topics=self._topics(),
            mode=self._reported_mode(),
            alignment=self.settings.alignment,
            fine=self._alignment_watch.summary(),
            awaited=self._cameras.awaited(self._pipeline) if self._cameras else {},
            repeats=self._repeat_watch.summary(),
            repeated=self.settings.repeated,
            clock=self._clock_watch.latest,
            active=self._active,
            silent_s={sensor: now - last for sensor, last in self._last_arrival.items()},
        )
        self._diagnostics.publish(diagnostic_array(self.get_clock().now().nanoseconds, fusion_statuses(snapshot)))


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; return the process's exit code."""
    return run_lifecycle_node(FusionNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
