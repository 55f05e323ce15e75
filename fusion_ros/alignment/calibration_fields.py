"""Fields of a calibration file: read with the name of what is wrong, and cameras to and from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from ..errors import CalibrationError, nearest_name, shortened
from ..geometry.cameras import PinholeCamera

__all__ = ["Fields", "camera_fields", "read_camera", "read_size"]

Size = tuple[int, int]
_SIZES = ("image_width", "image_height")
_LENS = ("camera_matrix", "distortion_model", "distortion_coefficients")
# What camera_calibration writes besides; it says how that camera would be rectified, which is not done here.
_IGNORED = ("camera_name", "rectification_matrix", "projection_matrix")


class Fields:
    """A mapping of a YAML file.

    Args:
        place: The file, and where in it the mapping is, for messages.
        content: What YAML gave there.

    Raises:
        CalibrationError: ``content`` is no mapping of names.
    """

    def __init__(self, place: str, content: Any) -> None:
        if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
            raise CalibrationError(f"{place}: expected a mapping of names to values, got {_kind(content)}")
        self.place = place
        self._content = content

    def __contains__(self, name: str) -> bool:
        return self._content.get(name) is not None

    def check(self, required: Sequence[str], optional: Sequence[str] = ()) -> None:
        """Check which fields there are.

        Raises:
            CalibrationError: A required field is missing, or one is unknown.
        """
        missing = [name for name in required if name not in self]
        if missing:
            raise CalibrationError(f"{self.place}: missing {shortened(missing)}")
        known = (*required, *optional)
        for name in self._content:
            if name not in known:
                raise CalibrationError(f"{self.place}: unknown field {name!r}; {nearest_name(name, known)}")

    def section(self, name: str) -> Fields:
        """Return the mapping under a name."""
        return Fields(f"{self.place}: {name}", self._content[name])

    def is_text(self, name: str) -> bool:
        """Tell whether the field holds a text."""
        return isinstance(self._content[name], str)

    def text(self, name: str) -> str:
        """Return a field's text."""
        if not self.is_text(name):
            raise CalibrationError(f"{self.place}: {name}: expected a text, got {_kind(self._content[name])}")
        return self._content[name]

    def number(self, name: str) -> float:
        """Return a field's finite number."""
        return self._number(name, self._content[name])

    def pixels(self, name: str) -> int:
        """Return a field's number of pixels, at least 1."""
        value = self._content[name]
        if type(value) is not int or value < 1:
            raise CalibrationError(f"{self.place}: {name}: expected a number of pixels, got {value!r}")
        return value

    def numbers(self, name: str, *counts: int) -> tuple[float, ...]:
        """Return a field's list of as many finite numbers as one of ``counts``.

        Both forms are read: a plain list, rows included, and ROS's ``{rows, cols, data}``.
        """
        value = self._content[name]
        if isinstance(value, dict):
            value = value.get("data")
        if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
            value = [item for row in value for item in row]
        if not isinstance(value, list) or (counts and len(value) not in counts):
            wanted = " or ".join(map(str, counts)) + " numbers" if counts else "numbers"
            found = f"{len(value)}" if isinstance(value, list) else _kind(value)
            raise CalibrationError(f"{self.place}: {name}: expected a list of {wanted}, got {found}")
        return tuple(self._number(name, item) for item in value)

    def _number(self, name: str, value: Any) -> float:
        # YAML takes 1e-3, which lacks the point, for a text.
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise CalibrationError(f"{self.place}: {name}: expected a finite number, got {value!r}")
        return number


def read_size(section: Fields) -> Size:
    """Return the ``(h, w)`` of a camera's section."""
    return section.pixels("image_height"), section.pixels("image_width")


def read_camera(section: Fields) -> PinholeCamera | None:
    """Return the camera of a section in the form of ROS's ``camera_calibration``; None if it gives the size only.

    Raises:
        CalibrationError: A field is missing, unknown, or cannot be; the lens model is not one of ours.
    """
    has_lens = any(name in section for name in _LENS)
    if not has_lens:
        section.check(required=_SIZES, optional=(*_LENS, *_IGNORED))
        read_size(section)
        return None
    section.check(required=(*_SIZES, "camera_matrix"), optional=(*_LENS, *_IGNORED))
    coefficients = "distortion_coefficients"
    height, width = read_size(section)
    info = SimpleNamespace(
        height=height,
        width=width,
        k=section.numbers("camera_matrix", 9),
        d=section.numbers(coefficients) if coefficients in section else (),
        distortion_model=section.text("distortion_model") if "distortion_model" in section else "plumb_bob",
    )
    try:
        return PinholeCamera.from_camera_info(info)
    except CalibrationError as error:
        raise CalibrationError(f"{section.place}: {error}") from None


def camera_fields(camera: PinholeCamera | None, size: Size) -> dict[str, Any]:
    """Return a camera's section for images of ``(h, w)``: what :func:`read_camera` reads."""
    fields: dict[str, Any] = {"image_width": size[1], "image_height": size[0]}
    if camera is None:
        return fields
    info = camera.camera_info_fields()
    return fields | {
        "camera_matrix": {"rows": 3, "cols": 3, "data": info["k"]},
        "distortion_model": info["distortion_model"],
        "distortion_coefficients": {"rows": 1, "cols": len(info["d"]), "data": info["d"]},
    }


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {str(value)[:60]!r}"
