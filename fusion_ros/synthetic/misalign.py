"""Known deformations of an image, with the exact truth of where its pixels belong.

Two aligned images, one of them deformed, are what alignment is measured and trained on. Huang et al., ReCoNet
(ECCV 2022), figure 8: noise, elastic, affine and mixed transforms. Li et al., "Feature dynamic alignment and
refinement for infrared-visible image fusion: Translation robust fusion" (RFVIF, Information Fusion 2023),
section 4: shifts of 3, 5 and 8 pixels.

**Convention.** A field lives on the deformed image's own grid and points to where the original is sampled, as in
:func:`fusion_ros.geometry.warp.warp_by_flow`: ``deformed(p) = original(p + field(p))``. It is ``(H, W, 2)``, x
first, in pixels. A flow that undoes it lives on the reference grid, which is the original's, and points into the
deformed image (``Gives.FLOW`` in :mod:`fusion_ros.spec`): ``corrected(p) = deformed(p + flow(p))``.

**Levels.** A level in pixels is the root mean square of the displacement's length over the image, exactly. So a
shift, an affine and an elastic deformation of one level are equally strong. (:func:`residual` gives the mean
length: of a shift the level itself, of the others up to some 15 % less.) On 640 x 480 pixels rotation by 1 degree
is 4.0 px and scaling by 1 % is 2.3 px. The RFVIF paper shifts both "vertically and horizontally": its 5 pixels are
``shift:7.07`` here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np

from ..errors import AlignmentError, ImageError
from ..geometry.warp import flow_positions
from ..imaging.colour import packed
from . import fields
from .conditions import Alteration, ConditionKind, add_noise, check_pixels, generator, grey_span, parse_levels

__all__ = ["MISALIGNMENTS", "Misalignment", "inverse_field", "parse_misalignments", "residual"]

Size = tuple[int, int]

_KINDS = (
    ConditionKind("shift", "moved this far, in a random direction", "px", (3.0, 5.0, 8.0), (0.0, 64.0)),
    ConditionKind("rotation", "turned about the centre, one way or the other", "deg", (1.0, 2.0), (0.0, 15.0)),
    ConditionKind("scale", "enlarged or shrunk about the centre", "%", (2.0, 4.0), (0.0, 20.0)),
    ConditionKind("affine", "random affine map of this RMS displacement", "px", (4.0, 8.0), (0.0, 64.0)),
    ConditionKind("perspective", "random homography of this RMS displacement", "px", (4.0, 8.0), (0.0, 32.0)),
    ConditionKind("elastic", "random smooth field of this RMS displacement", "px", (2.0, 4.0), (0.0, 8.0)),
    ConditionKind(
        "mixed", "affine and elastic, RMS displacement together; noise 5 %", "px", (4.0, 8.0), (0.0, 10.0)
    ),
    ConditionKind("noise", "Gaussian noise of this deviation; nothing moves", "%", (5.0, 10.0), (0.0, 100.0)),
)
MISALIGNMENTS: Mapping[str, ConditionKind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""Every kind of misalignment by name."""

_FIELDS: Mapping[str, Callable[[Size, float, np.random.Generator], np.ndarray]] = MappingProxyType(
    {
        "shift": fields.shift,
        "rotation": fields.rotation,
        "scale": fields.scale,
        "affine": fields.affine,
        "perspective": fields.perspective,
        "elastic": fields.elastic,
        "mixed": fields.mixed,
    }
)
_MIXED_NOISE = 5.0  # per cent
_SMALLEST_SIDE = 8
_LARGEST_SHARE = 8  # of the shorter side: a displacement of more than an eighth of it is no slight misalignment
_ITERATIONS = 50
_CONVERGED = 1e-3  # px; positions in float32 are not much finer
_FOLDED = 0.05  # px; OpenCV before 5 samples at 1/32 px, so that convergence ends above zero


@dataclass(frozen=True)
class Misalignment(Alteration):
    """A kind of deformation at one level."""

    KINDS = MISALIGNMENTS
    WHAT = "misalign"

    @property
    def is_geometric(self) -> bool:
        """Whether pixels move: false for noise alone."""
        return self.kind in _FIELDS

    def field(self, size: Size, seed: int | str) -> np.ndarray:
        """Return where each pixel of the deformed image is sampled, as the module says.

        A function of kind, level, size and seed alone. The random shape depends on all but the level: shifts by
        3 and by 8 pixels with one seed have the same direction.

        Args:
            size: ``(h, w)`` of the image.
            seed: A number, or a text such as the image's name.

        Returns:
            ``(H, W, 2)`` float32; zero for noise.

        Raises:
            ImageError: A side is below 8 pixels, or the level is more than an eighth of the shorter side.
        """
        _check_size(size, self.level if self.unit == "px" else 0.0, self.name)
        if not self.is_geometric:
            return np.zeros((*size, 2), np.float32)
        return _FIELDS[self.kind](size, self.level, generator(self.kind, seed, *size))

    def apply(self, pixels: np.ndarray, seed: int | str, index: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the deformed image and the field that it was deformed by.

        Sampling is bicubic: bilinear sampling between pixels takes 10 to 15 % of the spatial frequency of real
        thermal images, and a metric of sharpness would report that instead of the misalignment; bicubic takes 1
        to 3 %. OpenCV's has a price: edges lie within 1/12 px of where the field says, and beside hard ones it
        overshoots by a few per cent (integers saturate).

        Beyond its border the image is reflected, the border pixel not repeated: a constant would frame the
        picture and give the deformation away, as would the streaks of a repeated border. What is reflected
        has no counterpart in the original; :func:`fusion_ros.geometry.warp.valid_mask` tells where that is.

        Args:
            pixels: ``(H, W)`` or ``(H, W, C)``, at most 4 channels; uint8, uint16 or float32.
            seed: As for :meth:`field`.
            index: Number of the frame in its sequence: noise changes with it, the geometry does not.

        Returns:
            The deformed image, of the same type and shape, as fresh memory; ``(H, W, 2)`` float32.

        Raises:
            ImageError: The image is not such an array, or as for :meth:`field`.
        """
        check_pixels(pixels)
        field = self.field(pixels.shape[:2], seed)
        deformed = packed(pixels)
        if self.is_geometric:
            x, y = flow_positions(field)
            deformed = cv2.remap(deformed, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        noise = {"noise": self.level, "mixed": _MIXED_NOISE}.get(self.kind)
        if noise is not None:
            deviation = noise / 100.0 * grey_span(pixels)
            deformed = add_noise(deformed, deviation, generator(self.kind, "noise", seed, index))
        return deformed.reshape(pixels.shape), field


def parse_misalignments(text: str) -> tuple[Misalignment, ...]:
    """Return the misalignments that a text names: ``default``, or such as ``shift:3,shift:5,elastic``.

    A kind without a level stands for its usual levels, which are chosen for about 640 x 480 pixels.

    Raises:
        SettingsError: A kind is unknown, or a level is no number or out of bounds.
    """
    return tuple(Misalignment(kind, level) for kind, level in parse_levels(text, MISALIGNMENTS, "misalign"))


def inverse_field(field: np.ndarray) -> np.ndarray:
    """Return the flow that undoes a field: ``flow(p) = -field(p + flow(p))``, found by iteration.

    Beyond its border the field is taken to go on as its point reflection there, which continues
    every affine map exactly.

    Args:
        field: ``(H, W, 2)``, as the module says.

    Returns:
        ``(H, W, 2)`` float32 on the reference grid, pointing into the deformed image.

    Raises:
        ImageError: The field is not such an array.
        AlignmentError: The field folds or stretches so much that the iteration finds no inverse.
    """
    _check_field(field, "field")
    flow = -field.astype(np.float32)
    for _ in range(_ITERATIONS):
        previous, flow = flow, -_beyond(field, flow)
        step = float(np.abs(flow - previous).max())
        if step < _CONVERGED:
            break
    if step > _FOLDED:
        raise AlignmentError(
            f"expected a field without folds, but it cannot be inverted to {_FOLDED} px; lower its level"
        )
    return flow


def residual(field: np.ndarray, estimated: np.ndarray | None = None) -> float:
    """Return the mean distance between where pixels of the deformed image end up and where they belong, in pixels.

    That is the mean over pixels ``p`` of ``|flow(p) + field(p + flow(p))|``, for the field beyond its border
    as in :func:`inverse_field`.

    Args:
        field: ``(H, W, 2)``, as the module says.
        estimated: A flow, ``(H, W, 2)``, that is meant to undo the field; None for no correction.

    Raises:
        ImageError: One of them is not such an array or not finite, or they differ in size.
    """
    _check_field(field, "field")
    if estimated is None:
        return float(np.hypot(field[..., 0], field[..., 1]).mean(dtype=np.float64))
    _check_field(estimated, "estimated flow")
    if estimated.shape != field.shape:
        raise ImageError(f"expected an estimated flow of the field's shape {field.shape}, got {estimated.shape}")
    remaining = estimated + _beyond(field, estimated)
    return float(np.hypot(remaining[..., 0], remaining[..., 1]).mean(dtype=np.float64))


def _beyond(field: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The field at every pixel's position plus the flow; beyond the border as its point reflection."""
    x, y = flow_positions(flow)
    height, width = field.shape[:2]
    inner_x, inner_y = np.clip(x, 0.0, width - 1.0), np.clip(y, 0.0, height - 1.0)
    mirrored_x, mirrored_y = 2 * inner_x - x, 2 * inner_y - y
    result = np.empty(flow.shape, np.float32)
    for axis in range(2):  # one by one: OpenCV 5 samples a single channel exactly, two at 1/32 px
        values = np.ascontiguousarray(field[..., axis], np.float32)
        border = cv2.remap(values, inner_x, inner_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mirrored = cv2.remap(values, mirrored_x, mirrored_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        result[..., axis] = 2 * border - mirrored
    return result


def _check_size(size: Size, level: float, name: str) -> None:
    height, width = size
    shorter, side = min(size), _SMALLEST_SIDE
    if shorter < side:
        raise ImageError(f"{name}: expected an image of at least {side} x {side} pixels, got {width} x {height}")
    largest = shorter / _LARGEST_SHARE
    if level > largest:
        raise ImageError(
            f"{name}: expected at most {largest:g} px, 1/{_LARGEST_SHARE} of the shorter side, on an image of "
            f"{width} x {height} pixels; lower the level or take larger images"
        )


def _check_field(field: np.ndarray, what: str) -> None:
    if field.ndim != 3 or field.shape[2] != 2 or 0 in field.shape:
        raise ImageError(f"expected a {what} of shape (H, W, 2), got {field.shape}")
    if not np.isfinite(field).all():
        raise ImageError(f"expected finite numbers in the {what}, got NaN or infinity; leave such pixels zero")
