"""From a frame pair to a fused image: the whole story, without any I/O.

    thermal --> normalise to [0, 1] --> align --+
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
from dataclasses import dataclass

import numpy as np

from .alignment import Aligned, CoarseAligner, CoarseSettings
from .classical import CLASSICAL
from .engines import Engine, EngineSettings, open_engine
from .engines.classical_engine import ClassicalEngine
from .errors import SettingsError
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
    alignment: CoarseSettings = setting(CoarseSettings(), "How the moving image reaches the reference grid.")
    output: OutputSettings = setting(OutputSettings(), "What the fused image looks like.")


@dataclass(frozen=True, eq=False)
class _Placed:
    """Two images on the output grid.

    Attributes:
        thermal: ``(H, W)`` float32 in [0, 1].
        rgb: ``(H, W[, C])`` in the type of the frame.
        valid: ``(H, W)`` bool, False where the moving camera sees nothing; None where it sees everything.
    """

    thermal: np.ndarray
    rgb: np.ndarray
    valid: np.ndarray | None


class FusionPipeline:
    """Turns frame pairs into fused images.

    Args:
        engine: Runs the fusion network; handed in, so that its cost and its life are the caller's.
        settings: How to normalise, align and present.
    """

    def __init__(self, engine: Engine, settings: FusionSettings | None = None) -> None:
        self.engine = engine
        self.settings = settings or FusionSettings()
        reference = Sensor(self.settings.reference)
        self._is_rgb = reference is Sensor.RGB
        self._normalise = ThermalNormaliser(self.settings.thermal)
        self._align = CoarseAligner(self.settings.alignment, reference)
        self._ranges = MethodRanges(engine.spec, self.settings.output.range)
        self._reference_size: tuple[int, int] | None = None  # (h, w) of the latest reference image
        self._knows_grid = False  # else that size is a lone moving frame's own
        self._is_to_forget = False

    def reconfigured(self, settings: FusionSettings) -> FusionPipeline:
        """Return a pipeline with other settings on the same engine.

        What earlier frames taught stays as far as it still holds: the size of the output, and the ranges
        unless their own settings changed.
        """
        other = FusionPipeline(self.engine, settings)
        other._reference_size, other._knows_grid = self._reference_size, self._knows_grid
        other._is_to_forget = self._is_to_forget
        if settings.thermal == self.settings.thermal:
            other._normalise = self._normalise
        if settings.output.range == self.settings.output.range:
            other._ranges = self._ranges
        return other

    @property
    def description(self) -> str:
        """One line for logs: the model and what runs it."""
        return f"{self.settings.model} on {self.engine.description}"

    def reset(self) -> None:
        """Forget what earlier frames taught (time jumped, or a new recording begins), at the next call.

        May be called from any thread, also while a pair is being fused.
        """
        self._is_to_forget = True

    def prepare(self, height: int, width: int) -> None:
        """Compile the engine for reference images of this size, so that the first one is not late.

        Raises:
            EngineError: The network cannot be compiled.
        """
        self._reference_size, self._knows_grid = (height, width), True
        self.engine.prepare(*self._grid)

    def __call__(
        self,
        pair: FramePair,
        *,
        with_image: bool = True,
        with_aligned_thermal: bool = False,
        with_sources: bool = False,
    ) -> FusionResult:
        """Fuse one pair, or pass a single frame on when its partner is missing.

        Args:
            pair: RGB frame of any size, thermal frame of any size.
            with_image: Make the fused image; without it the network is not run.
            with_aligned_thermal: Bring the thermal pixels, counts untouched, onto the output grid.
            with_sources: Keep the two images that are fused, as :attr:`FusionResult.sources`.

        Raises:
            ImageError: A frame's pixels cannot be used.
            CalibrationError: The configured alignment does not fit the image sizes.
            EngineError: The network could not be run.
        """
        if self._is_to_forget:
            self._is_to_forget = False
            self._normalise.reset()
            self._ranges.reset()
        stages: dict[str, float] = {}
        mode, reference = self._place(pair)
        image = counts = sources = None
        if mode is Mode.FUSED and (with_image or with_sources):
            placed = self._placed(pair, stages)
            if with_image:
                image = self._fused_image(placed, reference.stamp_ns, stages)
            if with_sources:
                sources = Sources(to_uint8(placed.thermal), _shown(placed.rgb), placed.valid)
        elif with_image:
            image = self._single_image(pair, stages)
        if with_aligned_thermal and pair.thermal is not None:
            with _timed(stages, "aligned_thermal"):
                counts = self._thermal_counts(pair.thermal)
        return FusionResult(image, self._grid, mode, reference, pair.offset_ns, counts, sources, stages)

    def _place(self, pair: FramePair) -> tuple[Mode, Frame]:
        """Decide what the result is made of, and whose grid, stamp and frame it has."""
        reference, moving = (pair.rgb, pair.thermal) if self._is_rgb else (pair.thermal, pair.rgb)
        frame = reference or moving
        assert frame is not None  # a FramePair holds at least one
        # A lone moving frame is shown on the grid of earlier outputs where one is known, else on its own.
        if reference is not None or not self._knows_grid:
            self._reference_size, self._knows_grid = frame.size, reference is not None
        if pair.rgb is None:
            return Mode.THERMAL_ONLY, frame
        return (Mode.FUSED if pair.thermal is not None else Mode.RGB_ONLY), frame

    def _placed(self, pair: FramePair, stages: dict[str, float]) -> _Placed:
        """Normalise the thermal image, and bring both onto the output grid."""
        with _timed(stages, "normalise"):
            thermal = self._normalise(pair.thermal)
        with _timed(stages, "align"):
            if self._is_rgb:
                aligned = self._onto_grid(thermal)
                return _Placed(aligned.pixels, resize(pair.rgb.pixels, self._grid), aligned.valid)
            aligned = self._onto_grid(pair.rgb.pixels)
            return _Placed(resize(thermal, self._grid), aligned.pixels, aligned.valid)

    def _fused_image(self, placed: _Placed, stamp_ns: int, stages: dict[str, float]) -> np.ndarray:
        thermal = placed.thermal
        with _timed(stages, "split"):
            visible, chroma = split(placed.rgb) if self.settings.output.color else (luma(placed.rgb), None)
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

    def _single_image(self, pair: FramePair, stages: dict[str, float]) -> np.ndarray:
        """Show what there is, as it is."""
        if pair.rgb is not None:
            with _timed(stages, "split"):
                image = _shown(pair.rgb.pixels, color=self.settings.output.color)
        else:
            with _timed(stages, "normalise"):
                image = to_uint8(self._normalise(pair.thermal))
        with _timed(stages, "align"):
            is_reference = (pair.rgb is not None) == self._is_rgb
            is_placed = is_reference or not self._knows_grid
            return resize(image, self._grid) if is_placed else self._onto_grid(image).pixels

    @property
    def _grid(self) -> tuple[int, int]:
        """``(h, w)`` of the output: the latest reference image's size, scaled."""
        assert self._reference_size is not None  # set before the first use in each call
        height, width = self._reference_size
        scale = self.settings.output.scale
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _onto_grid(self, moving: np.ndarray) -> Aligned:
        return self._align(moving, self._grid, self._reference_size)

    def _thermal_counts(self, thermal: Frame) -> np.ndarray:
        if not self._is_rgb or not self._knows_grid:
            return resize(thermal.pixels, self._grid)
        return self._onto_grid(thermal.pixels).pixels


def open_pipeline(settings: FusionSettings | None = None) -> FusionPipeline:
    """Load the model, open the engine and return a pipeline that is ready to run.

    Raises:
        WeightsError: The model is unknown, or its weights are damaged or foreign.
        EngineError: The engine asked for is not installed or has no device.
        SettingsError: The network has no such setting, or gives no image.
    """
    settings = settings or FusionSettings()
    return FusionPipeline(_open_engine(settings), settings)


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


def _shown(pixels: np.ndarray, *, color: bool = True) -> np.ndarray:
    """Return a camera's picture as uint8: ``(H, W, 3)``, or ``(H, W)`` where no colour is there or wanted."""
    has_color = pixels.ndim == 3 and pixels.shape[2] >= 3
    return to_uint8(pixels[..., :3] if color and has_color else luma(pixels))


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    stages[name] = (time.perf_counter() - start) * 1e3
