"""Tracking to look at: boxes drawn into images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...chart_style import style_of
from ...errors import ImageError
from ...geometry.warp import resize
from ...imaging import ThermalNormaliser, ThermalSettings, luma, to_uint8
from ...tracking import Box
from ...tracking_sets import TrackingSequence
from ..results import AS_RECORDED
from .follow import true_boxes
from .results import TrackingEvaluation

__all__ = ["Strip", "as_picture", "colour_of", "draw_box", "draw_label", "strip_of", "typical_sequences"]

_FRAMES = 6
_TRUTH = (255, 255, 255)
_LINE_PX = 400  # width of an image for each pixel of a line
_TEXT_PX = 800  # width of an image in which a text has OpenCV's own size


def draw_box(image: np.ndarray, box: Box | np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw a box around its pixels, in place; NaN is not drawn.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        box: ``(x, y, width, height)``, px.
        colour: RGB.
    """
    if not np.isfinite(box).all():
        return
    x, y, width, height = map(float, box)
    # Far outside the picture OpenCV's integers would overflow, and nothing is seen anyway.
    ends = np.clip([x, y, x + width - 1.0, y + height - 1.0], -1e4, 1e4)
    left, top, right, bottom = np.rint(ends).astype(int).tolist()
    thickness = max(1, round(image.shape[1] / _LINE_PX))
    cv2.rectangle(image, (left, top), (right, bottom), colour, thickness)


def draw_label(image: np.ndarray, text: str, colour: tuple[int, int, int], line: int = 0) -> None:
    """Write a text into the upper left corner on a dark ground, in place; further ones go to further lines."""
    scale = max(0.4, image.shape[1] / _TEXT_PX)
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    step = height + below + 6
    top = 4 + line * step
    image[top : top + step, 4 : 4 + width + 8] //= 3
    cv2.putText(image, text, (8, top + height + 3), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


@dataclass(frozen=True, eq=False)
class Strip:
    """Some frames of one sequence with the boxes of all trackers.

    Attributes:
        title: Sequence, and why it is shown.
        images: ``(H, W, 3)`` uint8 RGB: the visible images, then the thermal ones.
        captions: Of the frames.
    """

    title: str
    images: tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]
    captions: tuple[str, ...]


def typical_sequences(evaluation: TrackingEvaluation) -> Mapping[str, str]:
    """Return the sequences that were the easiest, typical and the hardest over all trackers, and which is
    which."""
    means: dict[str, float] = {}
    for sequence in evaluation.sequences:
        found = [evaluation.scores(tracker.name, AS_RECORDED, sequence.name) for tracker in evaluation.trackers]
        values = [scores.success for scores in found if scores is not None]
        if values:
            means[sequence.name] = float(np.mean(values))
    order = sorted(means, key=lambda name: (-means[name], name))
    if len(order) < 3:
        return dict.fromkeys(order, "one of few")
    return {order[0]: "the easiest", order[len(order) // 2]: "a typical one", order[-1]: "the hardest"}


def strip_of(evaluation: TrackingEvaluation, sequence: TrackingSequence, why: str) -> Strip:
    """Return six frames from the first with truth to the last, as recorded, the truth white, trackers coloured.

    Raises:
        ImageError: A frame cannot be read.
    """
    truth = true_boxes(sequence)
    known = np.flatnonzero(~np.isnan(truth).any(axis=1))
    chosen = sorted({int(known[place]) for place in np.linspace(0, len(known) - 1, _FRAMES).round().astype(int)})
    boxes = [
        (colour_of(index), run.boxes)
        for index, tracker in enumerate(evaluation.trackers)
        if (run := evaluation.run(tracker.name, AS_RECORDED, sequence.name)) is not None
    ]
    visible, thermal = [], []
    for index, rgb, heat in _shown(sequence, chosen):
        for image, row in ((rgb, visible), (heat, thermal)):
            draw_box(image, truth[index], _TRUTH)
            for colour, found in boxes:
                draw_box(image, found[index], colour)
            row.append(image)
    captions = tuple(f"frame {index}" for index in chosen)
    return Strip(f"{sequence.name}, {why}", (tuple(visible), tuple(thermal)), captions)


def colour_of(index: int) -> tuple[int, int, int]:
    """Return the colour of a tracker by its place among all, RGB."""
    return tuple(bytes.fromhex(style_of(index).colour[1:]))


def _shown(sequence: TrackingSequence, chosen: Sequence[int]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield number, visible and thermal picture of the frames chosen, both of the visible image's size."""
    normalise = ThermalNormaliser(ThermalSettings())
    for index, pair in enumerate(sequence.frames()):
        if pair.rgb is None or pair.thermal is None:
            raise ImageError(
                f"{sequence.name}, frame {index}: expected an RGB and a thermal image, got one of them"
            )
        heat = normalise(pair.thermal)  # of each frame: its range follows the stream
        if index in chosen:
            yield index, as_picture(pair.rgb.pixels), as_picture(resize(heat, pair.rgb.size))
        if index == chosen[-1]:
            return


def as_picture(pixels: np.ndarray) -> np.ndarray:
    """Return an image of one or three channels as ``(H, W, 3)`` uint8 RGB that may be drawn into."""
    image = to_uint8(pixels[..., :3] if pixels.ndim == 3 and pixels.shape[2] >= 3 else luma(pixels))
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else np.array(image, order="C")
