"""One piece of work: one method on one recording under one condition.

A piece depends on nothing but itself, so pieces can be done in any order, by any number of
processes, on any machine that sees the same files, with the same result.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

import cv2
import numpy as np

from ..engines.classical_engine import ClassicalEngine
from ..errors import EngineError, FusionError, ImageError, SettingsError, WeightsError
from ..frame import FramePair
from ..geometry.warp import inner_rectangle, resize
from ..imaging import compressed_data, luma, to_uint8
from ..metrics import Column, Needs, Triple, measure
from ..pipeline import FusionPipeline, FusionSettings, Mode, Sources, open_pipeline
from ..synthetic.misalign import residual
from .conditions import Altered, Condition, Conditioner
from .correction import FlowOf, flow_of
from .recording import Moment, Recording
from .results import FrameRecord, SourceFacts, Thumbnails

__all__ = ["Method", "Piece", "PieceResult", "do_piece", "use_threads"]

_FATAL = (WeightsError, EngineError, SettingsError)
"""What is wrong with the method or the request, and therefore with every frame."""

_THUMBNAIL_QUALITY = 82
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Method:
    """A method to evaluate.

    Attributes:
        name: Its name in the report.
        settings: How it fuses; ``is_given`` methods use the alignment and the thermal range of it only.
        is_given: Its fused images come with the recording, under ``name``.
        weights_sha256: Hash of its weights, so that results of other weights are never taken for its own.
    """

    name: str
    settings: FusionSettings
    is_given: bool = False
    weights_sha256: str = ""


@dataclass(frozen=True, eq=False)
class Piece:
    """What is to be done.

    Attributes:
        columns: Which metrics.
        thumbnail_px: Width of the small pictures; 0 makes none.
        seed: Of whatever is random.
    """

    recording: Recording
    method: Method
    condition: Condition
    columns: tuple[Column, ...]
    thumbnail_px: int = 360
    seed: int = 0


@dataclass(frozen=True, eq=False)
class PieceResult:
    """What came of it.

    Attributes:
        frames: In order.
        stage_ms: Stage to milliseconds of each frame.
        thumbnails: By name of the frame.
        facts: What was come across in the recording, with its problems.
    """

    frames: tuple[FrameRecord, ...]
    stage_ms: dict[str, list[float]]
    thumbnails: dict[str, Thumbnails]
    facts: SourceFacts


def do_piece(piece: Piece, on_moment: Callable[[], None] = lambda: None) -> PieceResult:
    """Do one piece of work.

    What cannot be read, and what a method cannot fuse, is a problem in the result's facts and costs that moment.

    Args:
        on_moment: Called after every moment, for a progress bar.

    Raises:
        WeightsError, EngineError, SettingsError: The method cannot be run at all.
    """
    # A pipeline carries something on from frame to frame, and the next piece of the same method gets the same one.
    with _ONE_AT_A_TIME:
        task = _Task(piece)
        reading = None
        try:
            reading = piece.recording.open()
            for index, moment in enumerate(reading):
                task.take(moment, index)
                on_moment()
        except _FATAL:
            raise
        except FusionError as error:  # the recording breaks off; what was done before stays
            task.problems.append(f"{piece.recording.name}: {error}")
        facts = piece.recording.facts if reading is None else reading.facts()
        facts = replace(facts, problems=tuple(task.problems))
        return PieceResult(tuple(task.frames), task.stage_ms, task.thumbnails, facts)


@dataclass(eq=False)
class _Task:
    """One piece while it is being done."""

    piece: Piece
    frames: list[FrameRecord] = field(default_factory=list)
    stage_ms: dict[str, list[float]] = field(default_factory=dict)
    thumbnails: dict[str, Thumbnails] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        piece = self.piece
        self._fuse = None if piece.method.is_given else _pipeline(piece.method.settings)
        self._place = FusionPipeline(ClassicalEngine("average"), piece.method.settings)
        self._alter = Conditioner(
            piece.condition, piece.recording.name, is_sequence=piece.recording.is_sequence, seed=piece.seed
        )
        self._previous: Triple | None = None
        self._overlap: np.ndarray | None = None
        self._rectangle: tuple[slice, slice] = slice(None), slice(None)
        if self._fuse is not None:
            self._fuse.reset()

    def take(self, moment: Moment, index: int) -> None:
        """Fuse and measure one moment, or note why that could not be done."""
        piece = self.piece
        if moment.pair is None:
            self._previous = None
            self.problems.append(f"{piece.recording.name}: {moment.problem}")
        elif piece.method.is_given and piece.method.name not in moment.fused:
            return  # was not fused when the others were; the facts of the recording count it
        else:
            try:
                self._measure(moment, moment.pair, index)
            except _FATAL:
                raise
            except FusionError as error:
                self._previous = None
                where = "" if piece.condition.stress is None else f", {piece.condition.name}"
                self.problems.append(f"{piece.recording.name}, {moment.name}, {piece.method.name}{where}: {error}")

    def _measure(self, moment: Moment, pair: FramePair, index: int) -> None:
        is_sequence = self.piece.recording.is_sequence
        if not is_sequence:
            self._place.reset()
        altered = self._alter(pair, moment.name, index)
        fused, shown = self._fused(moment, altered)
        # The truth that metrics compare with is the unaltered pair, whatever the method was shown.
        truth = shown if self.piece.condition.stress is None else _sources(self._place, pair)
        triple = Triple(*self._where_both_see((truth.infrared, _grey(truth.rgb), _grey(fused)), truth.overlap))
        previous = self._previous if is_sequence else None
        self._previous = triple
        self.frames.append(
            FrameRecord(
                source=self.piece.recording.name,
                frame=moment.name,
                method=self.piece.method.name,
                condition=self.piece.condition.name,
                stamp_ns=_stamp_ns(pair, self.piece.method.settings),
                values=dict(_values(self.piece.columns, previous, triple)),
                offset_ms=pair.offset_ns / 1e6,
                residual_px=self._residual_px(altered, shown),
            )
        )
        if self.piece.thumbnail_px and self.piece.condition.stress is None:  # the report shows no others
            self.thumbnails[moment.name] = _thumbnails(shown.infrared, shown.rgb, fused, self.piece.thumbnail_px)

    def _residual_px(self, altered: Altered, shown: Sources) -> float | None:
        """Return how far the thermal image is from where it belongs, as far as the method says what it did."""
        if altered.field is None:
            return None
        if self._fuse is None or not self._fuse.engine.spec.aligns:
            return residual(altered.field)
        settings = self.piece.method.settings
        flow = _flow_of(settings)
        is_on_own_grid = settings.alignment.mode != "homography" and settings.reference == "rgb"
        if flow is None or not is_on_own_grid or shown.infrared.shape != altered.field.shape[:2]:
            return None
        return residual(altered.field, flow(shown))

    def _where_both_see(self, images: tuple[np.ndarray, ...], overlap: np.ndarray | None) -> list[np.ndarray]:
        """Cut the images to a rectangle that both cameras see: elsewhere there is nothing to compare with."""
        if overlap is None or any(image.shape != overlap.shape for image in images):  # the latter is refused later
            return list(images)
        if self._overlap is not overlap:  # a rig's is the same array in every frame
            self._overlap, self._rectangle = overlap, inner_rectangle(overlap)
        return [np.ascontiguousarray(image[self._rectangle]) for image in images]

    def _fused(self, moment: Moment, altered: Altered) -> tuple[np.ndarray, Sources]:
        """Return the fused image, and what it was made of."""
        method = self.piece.method
        if self._fuse is None:
            return to_uint8(moment.fused[method.name]), _sources(self._place, altered.pair)  # never altered
        if not self.piece.recording.is_sequence:
            self._fuse.reset()
        reference = altered.pair.rgb if method.settings.reference == "rgb" else altered.pair.thermal
        self._fuse.prepare(*reference.size)  # compiling is no part of a frame's time
        result = self._fuse(altered.pair, with_sources=True)
        if result.mode is not Mode.FUSED:
            raise ImageError(f"expected a fused image, got mode {result.mode.value}")
        stages = {"decode": moment.decode_ms, **result.stage_ms}
        for stage, milliseconds in {**stages, "total": sum(stages.values())}.items():
            self.stage_ms.setdefault(stage, []).append(milliseconds)
        return result.image, result.sources


@lru_cache(maxsize=1)
def _pipeline(settings: FusionSettings) -> FusionPipeline:
    """Return the method's pipeline; the next piece of the same method finds it compiled."""
    return open_pipeline(settings)


@lru_cache(maxsize=1)
def _flow_of(settings: FusionSettings) -> FlowOf | None:
    return flow_of(settings)


def _sources(pipeline: FusionPipeline, pair: FramePair) -> Sources:
    result = pipeline(pair, with_image=False, with_sources=True)
    if result.sources is None:
        raise ImageError("expected an RGB and a thermal frame, got one of them")
    return result.sources


def _values(columns: tuple[Column, ...], previous: Triple | None, triple: Triple) -> Iterator[tuple[str, float]]:
    stills = [column for column in columns if column.metric.needs is not Needs.VIDEO]
    found = measure(triple, stills, threads=max(1, cv2.getNumThreads()))
    for column in columns:
        if column.key in found:
            yield column.key, found[column.key]
        elif previous is not None and previous.size == triple.size:
            yield column.key, column.variant.function(previous, triple)
        else:
            yield column.key, math.nan  # a first frame has nothing before it


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else to_uint8(luma(image))


def _stamp_ns(pair: FramePair, settings: FusionSettings) -> int:
    return (pair.rgb if settings.reference == "rgb" else pair.thermal).stamp_ns


def _thumbnails(infrared: np.ndarray, rgb: np.ndarray, fused: np.ndarray, width: int) -> Thumbnails:
    scale = min(1.0, width / fused.shape[1])
    size = max(1, round(fused.shape[0] * scale)), max(1, round(fused.shape[1] * scale))
    pictures = [
        compressed_data(resize(image, size), "jpeg", _THUMBNAIL_QUALITY) for image in (infrared, rgb, fused)
    ]
    return Thumbnails(*pictures)


def use_threads(number: int) -> None:
    """Bound the threads of OpenCV, and of the metrics, in this process; 0 is one a core."""
    cv2.setNumThreads(number if number else -1)
