"""How the cameras' calibration messages reach the alignment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import CalibrationError
from ..frame import FramePair, Sensor
from ..geometry.cameras import PinholeCamera
from ..pipeline import FusionPipeline
from .fusion_inputs import FusionInputs

__all__ = ["FusionCameras"]


class FusionCameras:
    """Hands each camera's first usable calibration to the pipeline; what comes after it and differs is refused.

    A calibration that changed while the node runs would move the picture under everybody's feet, and to make the
    maps takes seconds; who means it deactivates the node and activates it again. Where ``alignment.rectified``
    changes, the latest messages are read anew.

    Args:
        inputs: Where the latest calibration messages lie.
        report: Told what is wrong, at each pair, by its kind.
    """

    def __init__(self, inputs: FusionInputs, report: Callable[[str, Exception], None]) -> None:
        self._messages = inputs.camera_info
        self._topics = inputs.info_topics
        self._report = report
        self._taken: dict[Sensor, PinholeCamera] = {}
        self._rectified = ""  # as alignment.rectified was when they were taken
        self._tried: tuple[Any, ...] = ()
        self._refusal: CalibrationError | None = None

    def awaited(self, pipeline: FusionPipeline | None) -> dict[Sensor, str]:
        """Return the cameras that the alignment waits for, and the topics of their calibration."""
        return {} if pipeline is None else {sensor: self._topics[sensor] for sensor in pipeline.aligner.awaited}

    def hand_in(self, pipeline: FusionPipeline, frames: FramePair) -> None:
        """Tell the pipeline what is known of the cameras; to be called where pairs are fused.

        Nothing is done unless the alignment wants to know, and then only once for each state of knowledge.
        """
        needs = pipeline.aligner.needs
        if not needs or frames.rgb is None or frames.thermal is None:
            return
        rectified = pipeline.settings.alignment.rectified
        if rectified != self._rectified:
            self._rectified, self._taken = rectified, {}
        found = {sensor: self._camera(pipeline, sensor) for sensor in needs}
        sizes = {"rgb": frames.rgb.size, "thermal": frames.thermal.size}
        state = (pipeline, found, sizes)
        if state != self._tried:
            self._tried, self._refusal = state, None
            try:
                pipeline.aligner.set_cameras(
                    **{sensor.value: found[sensor] for sensor in found}, image_sizes=sizes
                )
                # Until both are known, either may turn out to be the wrong one.
                if not pipeline.aligner.awaited:
                    self._taken = {sensor: camera for sensor, camera in found.items() if camera is not None}
            except CalibrationError as error:
                self._refusal = error
        if self._refusal is not None:
            self._report("camera_info", self._refusal)

    def _camera(self, pipeline: FusionPipeline, sensor: Sensor) -> PinholeCamera | None:
        """Return the camera to use: the first that was taken, else what the latest message says."""
        taken, message = self._taken.get(sensor), self._messages.get(sensor)
        if message is None:
            return taken
        try:
            camera = pipeline.settings.alignment.camera(sensor, message)
        except CalibrationError as error:
            self._report(f"{sensor.value} camera_info", error)
            return taken
        if taken is not None and camera != taken:
            self._report(f"{sensor.value} camera_info", CalibrationError(_changed(taken, camera)))
        return taken or camera


def _changed(taken: PinholeCamera, camera: PinholeCamera) -> str:
    def text(one: PinholeCamera) -> str:
        return f"{one.width} x {one.height} with fx {one.fx:.2f}, fy {one.fy:.2f}"

    return (
        f"it changed from {text(taken)} to {text(camera)}; the first one stays in use: deactivate and activate "
        "the node to take the new one, or set alignment.calibration_file"
    )
