"""From a frame pair to a fused image: the whole story, without any I/O.

    thermal --> normalise to [0, 1] --> align --+    coarse, then fine
                                                 +--> fuse luminances --> give the colour back
    RGB ------> split luminance / colour --------+

Whatever range of values the fusing method wants and gives, it is brought to and from [0, 1] here.

The same object serves the ROS node, the command line and the evaluation, so what is measured
offline is what runs on the robot. It imports no ROS.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass

import numpy as np

from .alignment.aligner import Aligner, AlignmentSettings, Placed, structural_estimator
from .alignment.estimate import Estimator
from .alignment.fine import FineAlignment
from .classical import CLASSICAL
from .engines import Engine, EngineSettings, open_engine
from .engines.classical_engine import ClassicalEngine
from .errors import SettingsError, WeightsError
from .frame import Frame, FramePair, Sensor
from .fusion_result import FusionResult, Mode, Sources
from .geometry.warp import resize
from .imaging import MethodRanges, RangeSettings, ThermalNormaliser, ThermalSettings, luma, merge, split, to_uint8
from .settings import Settings, parse_assignments, setting
from .spec import Gives
from .weights import load_network

__all__ = [
    "FusionPipeline",
    "FusionResult",
    "FusionSettings",
    "Mode",
    "OutputSettings",
    "Sources",
    "open_pipeline",
]


@dataclass(frozen=True)
class OutputSettings(Settings):
    """What the fused image looks like."""

    color: bool = setting(True, "Keep the RGB image's colour; false gives a grey image.")
    scale: float = setting(1.0, "Size of the output relative to the reference image.", bounds=(0.1, 1.0))
    range: RangeSettings = setting(RangeSettings(), "How a stretched range follows a stream.")


@dataclass(frozen=True)
class FusionSettings(Settings):
    """Everything that decides how a pair becomes a fused image."""

    model: str = setting(
        "reconet",
        "How to fuse: name of a model, path of a model folder, or a method without weights (average, maximum, "
        "laplacian, guided_filter, pca).",
        read_only=True,
    )
    network: str = setting(
        "",
        "Settings of the model's network, as name=value separated by commas, such as fusion=l1; "
        "'fusion-ros models show <name> --network' lists them.",
        read_only=True,
    )
    reference: str = setting(
        "rgb",
        "Camera whose pixel grid, stamp and frame the output has; the other image is moved onto it.",
        choices=("rgb", "thermal"),
        read_only=True,
    )
    engine: EngineSettings = setting(EngineSettings(), "What runs the network.")
    thermal: ThermalSettings = setting(ThermalSettings(), "How thermal values become [0, 1].")
    alignment: AlignmentSettings = setting(AlignmentSettings(), "How the moving image reaches the reference grid.")
    output: OutputSettings = setting(OutputSettings(), "What the fused image looks like.")


class FusionPipeline:
    """Turns frame pairs into fused images.

    While cameras are awaited that the alignment needs (``aligner.awaited``; ``aligner.set_cameras`` takes them),
    the reference image goes out alone, with mode ``UNALIGNED``.

    Args:
        engine: Runs the fusion network; handed in, so that its cost and its life are the caller's.
        settings: How to normalise, align and present.
        fine: Finds what the coarse alignment leaves, likewise handed in; None: nothing does.
        fine_engine: What runs ``fine``, if an engine does; :meth:`close` closes it too.

    Raises:
        CalibrationError: The settings hold no usable coarse alignment.
    """

    def __init__(
        self,
        engine: Engine,
        settings: FusionSettings | None = None,
        fine: Estimator | None = None,
        fine_engine: Engine | None = None,
    ) -> None:
        self.engine = engine
        self.settings = settings or FusionSettings()
        self._is_rgb = self.settings.reference == Sensor.RGB.value
        self._normalise = ThermalNormaliser(self.settings.thermal)
        self.aligner = Aligner(self.settings.alignment, Sensor(self.settings.reference), fine)
        self._fine_engine = fine_engine
        self._ranges = MethodRanges(engine.spec, self.settings.output.range)
        self._reference_size: tuple[int, int] | None = None  # (h, w) of the latest reference image
        self._knows_grid = False  # else that size is a lone moving frame's own
        self._is_to_forget = False

    def reconfigured(self, settings: FusionSettings) -> FusionPipeline:
        """Return a pipeline with other settings on the same engines.

        What earlier frames taught stays as far as it still holds: the size of the output, the cameras, the
        misalignment unless the coarse alignment changed, and the ranges unless their own settings changed.

        Raises:
            CalibrationError: The settings hold no usable coarse alignment.
        """
        other = copy(self)
        other.settings = settings
        other.aligner = self.aligner.reconfigured(settings.alignment)
        if settings.thermal != self.settings.thermal:
            other._normalise = ThermalNormaliser(settings.thermal)
        if settings.output.range != self.settings.output.range:
            other._ranges = MethodRanges(self.engine.spec, settings.output.range)
        return other

    @property
    def description(self) -> str:
        """One line for logs: the model and what runs it."""
        estimator = self.aligner.estimator
        fine = f"; fine alignment: {estimator.name}" if estimator is not None else ""
        return f"{self.settings.model} on {self.engine.description}{fine}"

    def reset(self) -> None:
        """Forget what earlier frames taught (time jumped, or a new recording begins), at the next call.

        May be called from any thread, also while a pair is being fused.
        """
        self._is_to_forget = True

    def prepare(self, height: int, width: int) -> None:
        """Compile the engines for reference images of this size, so that the first one is not late.

        Raises:
            EngineError: The network cannot be compiled.
        """
        self._reference_size, self._knows_grid = (height, width), True
        self.engine.prepare(*self._grid)
        self.aligner.prepare(self._grid)

    def close(self) -> None:
        """Free what the engines hold; the pipeline cannot be used after this."""
        self.engine.close()
        if self._fine_engine is not None:
            self._fine_engine.close()

    def __call__(
        self,
        pair: FramePair,
        *,
        with_image: bool = True,
        with_aligned_thermal: bool = False,
        with_sources: bool = False,
        with_alignment: bool = False,
    ) -> FusionResult:
        """Fuse one pair, or pass a single frame on when its partner is missing.

        Args:
            pair: RGB frame of any size, thermal frame of any size.
            with_image: Make the fused image; without it the network is not run.
            with_aligned_thermal: Bring the thermal pixels, counts untouched, onto the output grid.
            with_sources: Keep the two images that are fused, as :attr:`FusionResult.sources`.
            with_alignment: Look for the fine alignment even if nothing else is wanted.

        Raises:
            ImageError: A frame's pixels cannot be used.
            CalibrationError: The configured alignment does not fit the image sizes.
            EngineError: The network could not be run.
        """
        if self._is_to_forget:
            self._is_to_forget = False
            self._normalise.reset()
            self._ranges.reset()
            self.aligner.reset()
        stages: dict[str, float] = {}
        mode, reference = self._place(pair)
        alignment = self.aligner.latest
        image = counts = sources = None
        is_field_wanted = alignment is not None and (with_aligned_thermal or with_alignment)
        if mode is Mode.FUSED and (with_image or with_sources or is_field_wanted):
            placed, alignment = self._placed(pair, stages)
            if with_image:
                image = self._fused_image(placed, reference.stamp_ns, stages)
            if with_sources:
                sources = Sources(to_uint8(placed.thermal.pixels), _shown(placed.rgb.pixels), placed.valid)
        elif mode is not Mode.FUSED and with_image:
            image = self._single_image(reference, Sensor.RGB if reference is pair.rgb else Sensor.THERMAL, stages)
        if with_aligned_thermal and pair.thermal is not None and not (mode is Mode.UNALIGNED and self._is_rgb):
            with _timed(stages, "aligned_thermal"):
                counts = self._onto_grid(pair.thermal.pixels, Sensor.THERMAL)
        return FusionResult(image, self._grid, mode, reference, pair.offset_ns, counts, sources, alignment, stages)

    def _place(self, pair: FramePair) -> tuple[Mode, Frame]:
        """Decide what the result is made of, and whose grid, stamp and frame it has."""
        reference, moving = (pair.rgb, pair.thermal) if self._is_rgb else (pair.thermal, pair.rgb)
        frame = reference or moving
        assert frame is not None  # a FramePair holds at least one
        # A lone moving frame is shown on the grid of earlier outputs where one is known, else on its own.
        if reference is not None or not self._can_place:
            self._reference_size, self._knows_grid = frame.size, reference is not None
        if reference is not None and moving is not None:
            return (Mode.UNALIGNED if self.aligner.awaited else Mode.FUSED), frame
        return (Mode.THERMAL_ONLY if pair.rgb is None else Mode.RGB_ONLY), frame

    def _placed(self, pair: FramePair, stages: dict[str, float]) -> tuple[Placed, FineAlignment | None]:
        """Normalise the thermal image, and bring both onto the output grid."""
        with _timed(stages, "normalise"):
            thermal = self._normalise(pair.thermal)
        with _timed(stages, "align"):
            placed = self.aligner.place(pair.rgb.pixels, thermal, self._grid, self._reference_size)
        if self.aligner.estimator is None:
            return placed, None
        with _timed(stages, "align_fine"):
            return self.aligner.refine(placed, pair)

    def _fused_image(self, placed: Placed, stamp_ns: int, stages: dict[str, float]) -> np.ndarray:
        thermal, rgb = placed.thermal.pixels, placed.rgb.pixels
        with _timed(stages, "split"):
            visible, chroma = split(rgb) if self.settings.output.color else (luma(rgb), None)
        if placed.valid is not None:
            # Where only the reference camera sees, fuse it with itself: no dark frame around the picture.
            if self._is_rgb:
                thermal = np.where(placed.valid, thermal, visible)
            else:
                visible = np.where(placed.valid, visible, thermal)
        with _timed(stages, "fuse"):
            fused = self._fuse(thermal, visible, stamp_ns)
        with _timed(stages, "merge"):
            return to_uint8(fused) if chroma is None else merge(fused, chroma)

    def _fuse(self, infrared: np.ndarray, visible: np.ndarray, stamp_ns: int) -> np.ndarray:
        infrared, visible = self._ranges.prepare(infrared, visible, stamp_ns)
        output = self.engine(infrared[None, None], visible[None, None])[0, 0]
        return self._ranges.finish(output, stamp_ns)

    def _single_image(self, frame: Frame, sensor: Sensor, stages: dict[str, float]) -> np.ndarray:
        """Show what there is, as it is."""
        if sensor is Sensor.RGB:
            with _timed(stages, "split"):
                image = _shown(frame.pixels, color=self.settings.output.color)
        else:
            with _timed(stages, "normalise"):
                image = to_uint8(self._normalise(frame))
        with _timed(stages, "align"):
            return self._onto_grid(image, sensor)

    @property
    def _grid(self) -> tuple[int, int]:
        """``(h, w)`` of the output: the latest reference image's size, scaled."""
        assert self._reference_size is not None  # set before the first use in each call
        height, width = self._reference_size
        scale = self.settings.output.scale
        return max(1, round(height * scale)), max(1, round(width * scale))

    @property
    def _can_place(self) -> bool:
        return self._knows_grid and not self.aligner.awaited

    def _onto_grid(self, pixels: np.ndarray, sensor: Sensor) -> np.ndarray:
        """Bring one camera's image onto the output grid; resized only, where no more is known."""
        if not self._can_place:
            return resize(pixels, self._grid)
        return self.aligner.place_one(pixels, sensor, self._grid, self._reference_size)


def open_pipeline(settings: FusionSettings | None = None) -> FusionPipeline:
    """Load the models, open the engines and return a pipeline that is ready to run.

    Raises:
        WeightsError: A model is unknown, or its weights are damaged or foreign.
        EngineError: The engine asked for is not installed or has no device.
        SettingsError: The network has no such setting, or gives no image; or that of the fine alignment no flow.
        CalibrationError: The settings hold no usable coarse alignment.
    """
    settings = settings or FusionSettings()
    engine = _open_engine(settings)
    fine, fine_engine = _open_estimator(settings)
    return FusionPipeline(engine, settings, fine, fine_engine)


def _open_engine(settings: FusionSettings) -> Engine:
    options = parse_assignments(settings.network)
    if settings.model in CLASSICAL:
        if options:
            raise SettingsError(f"network: {settings.model} has no settings, got {settings.network!r}")
        return ClassicalEngine(settings.model)
    network = load_network(settings.model, options)
    if network.spec.gives is not Gives.IMAGE:
        raise SettingsError(
            f"model: expected one that gives an image, {settings.model} ({network.spec.title}) gives "
            f"{network.spec.gives.value}"
        )
    return open_engine(network, settings.engine)


def _open_estimator(settings: FusionSettings) -> tuple[Estimator | None, Engine | None]:
    """Return what finds the fine alignment, and the engine that runs it, as far as there are any."""
    method = settings.alignment.fine.method
    if method == "none":
        return None, None
    if method == "structural":
        return structural_estimator(settings.alignment.fine), None
    try:
        network = load_network(method)
    except WeightsError as error:
        raise WeightsError(f"alignment.fine.method, neither none nor structural: {error}") from error
    if network.spec.gives is not Gives.FLOW:
        raise SettingsError(
            f"alignment.fine.method: expected none, structural or a model that gives a flow, {method} "
            f"({network.spec.title}) gives {network.spec.gives.value}"
        )
    from .alignment.learned import LearnedEstimator, LearnedSettings

    engine = open_engine(network, settings.engine)
    return LearnedEstimator(engine, LearnedSettings(search_px=settings.alignment.fine.search_px)), engine


def _shown(pixels: np.ndarray, *, color: bool = True) -> np.ndarray:
    """Return a camera's picture as uint8: ``(H, W, 3)``, or ``(H, W)`` where no colour is there or wanted."""
    has_color = pixels.ndim == 3 and pixels.shape[2] >= 3
    return to_uint8(pixels[..., :3] if color and has_color else luma(pixels))


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    stages[name] = (time.perf_counter() - start) * 1e3
