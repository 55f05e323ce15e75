"""From a frame pair to a fused image and fused features: the whole story, without any I/O.

    thermal --> normalise to [0, 1] --> align --+    coarse, then fine
                                                 +--+--> fuse luminances --> give the colour back --> image
    RGB ------> split luminance / colour --------+  +--> the same luminances --> feature maps of a network

Whatever range of values a method wants and gives, it is brought to and from [0, 1] here.

The same object serves the ROS nodes, the command line and the evaluation, so what is measured
offline is what runs on the robot. It imports no ROS.
"""

from __future__ import annotations

from copy import copy

import numpy as np

from .alignment.aligner import Aligner, Placed
from .alignment.estimate import Estimator
from .alignment.fine import FineAlignment
from .engines import Engine
from .errors import SettingsError
from .features import FeatureExtractor
from .frame import Frame, FramePair, Sensor
from .fusion_result import FusionResult, Mode, Sources
from .geometry.warp import resize
from .imaging import MethodRanges, ThermalNormaliser, merge, to_uint8
from .pipeline_opening import ALONE, FusionSettings, OutputSettings, open_estimator, open_features, open_fuser
from .pipeline_stages import Luminances, shown, timed
from .timing import Repeat, RepeatFinder

__all__ = [
    "FusionPipeline",
    "FusionResult",
    "FusionSettings",
    "Mode",
    "OutputSettings",
    "Sources",
    "open_pipeline",
]


class FusionPipeline:
    """Turns frame pairs into fused images and fused features.

    While cameras are awaited that the alignment needs (``aligner.awaited``; ``aligner.set_cameras`` takes them),
    the reference image goes out alone, with mode ``UNALIGNED``.

    Args:
        engine: Runs the fusion network; handed in, so that its cost and its life are the caller's. None: no
            fused image is offered.
        settings: How to normalise, align and present.
        fine: Finds what the coarse alignment leaves, likewise handed in; None: nothing does.
        fine_engine: What runs ``fine``, if an engine does; :meth:`close` closes it too.
        features: Gives the fused features, likewise handed in; None: none are offered.

    Raises:
        CalibrationError: The settings hold no usable coarse alignment.
    """

    def __init__(
        self,
        engine: Engine | None,
        settings: FusionSettings | None = None,
        fine: Estimator | None = None,
        fine_engine: Engine | None = None,
        features: FeatureExtractor | None = None,
    ) -> None:
        self.engine = engine
        self.features = features
        self.settings = settings or FusionSettings()
        self._is_rgb = self.settings.reference == Sensor.RGB.value
        self._normalise = ThermalNormaliser(self.settings.thermal)
        self.aligner = Aligner(self.settings.alignment, Sensor(self.settings.reference), fine)
        self._fine_engine = fine_engine
        self._repeats = RepeatFinder()
        self._ranges = self._fresh_ranges()
        self._reference_size: tuple[int, int] | None = None  # (h, w) of the latest reference image
        self._knows_grid = False  # else that size is a lone moving frame's own
        self._is_to_forget = False

    def reconfigured(self, settings: FusionSettings) -> FusionPipeline:
        """Return a pipeline with other settings on the same engines.

        What earlier frames taught stays as far as it still holds: the size of the output, the cameras, the latest
        images, the misalignment unless the coarse alignment changed, and the ranges unless their own settings
        changed.

        Raises:
            CalibrationError: The settings hold no usable coarse alignment.
        """
        other = copy(self)
        other.settings = settings
        other.aligner = self.aligner.reconfigured(settings.alignment)
        if settings.thermal != self.settings.thermal:
            other._normalise = ThermalNormaliser(settings.thermal)
        if settings.output.range != self.settings.output.range:
            other._ranges = other._fresh_ranges()
            if self.features is not None:
                other.features = self.features.reconfigured(settings.output.range)
        return other

    def _fresh_ranges(self) -> MethodRanges | None:
        return None if self.engine is None else MethodRanges(self.engine.spec, self.settings.output.range)

    @property
    def description(self) -> str:
        """One line for logs: the models and what runs them."""
        estimator = self.aligner.estimator
        parts = [
            f"{self.settings.model} on {self.engine.description}" if self.engine is not None else "no fused image",
            f"features: {self.features.description}" if self.features is not None else "",
            f"fine alignment: {estimator.name}" if estimator is not None else "",
        ]
        return "; ".join(filter(None, parts))

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
        for runner in (self.engine, self.features):
            if runner is not None:
                runner.prepare(*self._grid)
        self.aligner.prepare(self._grid)

    def close(self) -> None:
        """Free what the engines hold; the pipeline cannot be used after this."""
        for runner in (self.engine, self.features, self._fine_engine):
            if runner is not None:
                runner.close()

    def __call__(
        self,
        pair: FramePair,
        *,
        with_image: bool = True,
        with_features: bool = False,
        with_aligned_thermal: bool = False,
        with_sources: bool = False,
        with_alignment: bool = False,
    ) -> FusionResult:
        """Fuse one pair, or pass a single frame on when its partner is missing.

        With ``repeated`` alone, a partner that only repeats its image counts as missing; the result still has the
        reference camera's grid, stamp and frame id.

        Args:
            pair: RGB frame of any size, thermal frame of any size.
            with_image: Make the fused image; without it its network is not run.
            with_features: Make the fused features; of a single frame, that one image stands for both.
            with_aligned_thermal: Bring the thermal pixels, counts untouched, onto the output grid.
            with_sources: Keep the two images that are fused, as :attr:`FusionResult.sources`.
            with_alignment: Look for the fine alignment even if nothing else is wanted.

        Raises:
            SettingsError: The settings offer no fused image or no features, and they are asked for.
            ImageError: A frame's pixels cannot be used.
            CalibrationError: The configured alignment does not fit the image sizes.
            EngineError: A network could not be run.
        """
        self._check_offered(with_image, with_features)
        self._forget_if_asked()
        stages: dict[str, float] = {}
        with timed(stages, "repeats"):
            repeat = self._repeats(pair)
        mode, reference = self._place(pair, repeat)
        alignment, is_output_wanted = self.aligner.latest, with_image or with_features
        is_field_wanted = alignment is not None and (with_aligned_thermal or with_alignment)
        image = luminances = features = counts = sources = None
        if mode is Mode.FUSED and (is_output_wanted or with_sources or is_field_wanted):
            placed, alignment = self._placed(pair, repeat, stages)
            if is_output_wanted:
                with timed(stages, "split"):
                    colour = with_image and self.settings.output.color
                    luminances = Luminances.of_pair(placed, is_rgb_reference=self._is_rgb, with_colour=colour)
            if with_image:
                image = self._fused_image(luminances, reference.stamp_ns, stages)
            if with_sources:
                sources = Sources(to_uint8(placed.thermal.pixels), shown(placed.rgb.pixels), placed.valid)
        elif mode is not Mode.FUSED and is_output_wanted:
            alone = self._single_image(pair, mode, stages)
            luminances = Luminances.of_one(alone)
            image = alone if with_image else None
        if with_features:
            with timed(stages, "features"):
                features = self.features(luminances.thermal, luminances.visible, reference.stamp_ns)
        if with_aligned_thermal and mode is not Mode.RGB_ONLY and not (mode is Mode.UNALIGNED and self._is_rgb):
            with timed(stages, "aligned_thermal"):
                counts = self._onto_grid(pair.thermal.pixels, Sensor.THERMAL)
        return FusionResult(
            image,
            self._grid,
            mode,
            reference,
            pair.offset_ns,
            counts,
            sources,
            alignment,
            features,
            repeat,
            stages,
        )

    def _check_offered(self, with_image: bool, with_features: bool) -> None:
        wanted = {"model": (with_image, self.engine), "features.model": (with_features, self.features)}
        for name, (is_wanted, runner) in wanted.items():
            if is_wanted and runner is None:
                raise SettingsError(f"{name}: expected a model, got none; set it, or do not ask for what it gives")

    def _forget_if_asked(self) -> None:
        if not self._is_to_forget:
            return
        self._is_to_forget = False
        for learned in (self._repeats, self._normalise, self._ranges, self.aligner, self.features):
            if learned is not None:
                learned.reset()

    def _place(self, pair: FramePair, repeat: Repeat | None) -> tuple[Mode, Frame]:
        """Decide what the result is made of, and whose grid, stamp and frame it has."""
        reference, moving = (pair.rgb, pair.thermal) if self._is_rgb else (pair.thermal, pair.rgb)
        frame = reference or moving
        assert frame is not None  # a FramePair holds at least one
        # A lone moving frame is shown on the grid of earlier outputs where one is known, else on its own.
        if reference is not None or not self._can_place:
            self._reference_size, self._knows_grid = frame.size, reference is not None
        if reference is None or moving is None:
            return (Mode.THERMAL_ONLY if pair.rgb is None else Mode.RGB_ONLY), frame
        if self.aligner.awaited:
            return Mode.UNALIGNED, frame
        if repeat is not None and self.settings.repeated == ALONE:
            return (Mode.THERMAL_ONLY if repeat.sensor is Sensor.RGB else Mode.RGB_ONLY), frame
        return Mode.FUSED, frame

    def _placed(
        self, pair: FramePair, repeat: Repeat | None, stages: dict[str, float]
    ) -> tuple[Placed, FineAlignment | None]:
        """Normalise the thermal image, and bring both onto the output grid."""
        with timed(stages, "normalise"):
            thermal = self._normalise(pair.thermal)
        with timed(stages, "align"):
            placed = self.aligner.place(pair.rgb.pixels, thermal, self._grid, self._reference_size)
        if self.aligner.estimator is None:
            return placed, None
        with timed(stages, "align_fine"):
            return self.aligner.refine(placed, pair, is_stale=repeat is not None)

    def _fused_image(self, luminances: Luminances, stamp_ns: int, stages: dict[str, float]) -> np.ndarray:
        with timed(stages, "fuse"):
            infrared, visible = self._ranges.prepare(luminances.thermal, luminances.visible, stamp_ns)
            output = self.engine(infrared[None, None], visible[None, None])[0, 0]
            fused = self._ranges.finish(output, stamp_ns)
        with timed(stages, "merge"):
            return to_uint8(fused) if luminances.chroma is None else merge(fused, luminances.chroma)

    def _single_image(self, pair: FramePair, mode: Mode, stages: dict[str, float]) -> np.ndarray:
        """Show the one image that the mode names, as it is."""
        is_rgb = self._is_rgb if mode is Mode.UNALIGNED else mode is Mode.RGB_ONLY
        sensor = Sensor.RGB if is_rgb else Sensor.THERMAL
        if is_rgb:
            with timed(stages, "split"):
                image = shown(pair.rgb.pixels, color=self.settings.output.color)
        else:
            with timed(stages, "normalise"):
                image = to_uint8(self._normalise(pair.thermal))
        with timed(stages, "align"):
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
        SettingsError: A network has no such setting, or does not give what it is there for: an image, a flow for
            the fine alignment, the layers of features.
        CalibrationError: The settings hold no usable coarse alignment.
    """
    settings = settings or FusionSettings()
    engine = open_fuser(settings)
    fine, fine_engine = open_estimator(settings)
    return FusionPipeline(engine, settings, fine, fine_engine, open_features(settings))
