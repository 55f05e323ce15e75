"""The error family of fusion_ros.

Every message says what was expected, what came, and what to do about it. Catch
:class:`FusionError` to catch all of them; catch a member to react to one cause.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "AlignmentError",
    "BagError",
    "CalibrationError",
    "EngineError",
    "FusionError",
    "ImageError",
    "SettingsError",
    "TrackingError",
    "WeightsError",
    "nearest_name",
    "shortened",
]


class FusionError(Exception):
    """Base of everything that fusion_ros raises on purpose."""


class SettingsError(FusionError, ValueError):
    """A setting is unknown, of the wrong type, or outside its bounds."""


class ImageError(FusionError, ValueError):
    """An image is malformed: encoding, size, step, data length or contents."""


class CalibrationError(FusionError, ValueError):
    """A camera model or a transform between cameras cannot be used."""


class AlignmentError(FusionError, RuntimeError):
    """The thermal image could not be brought onto the reference grid."""


class TrackingError(FusionError, ValueError):
    """A target cannot be followed: its box, or the features that it is to be followed on."""


class WeightsError(FusionError, RuntimeError):
    """A weights file is absent, corrupted, or does not belong to the network."""


class EngineError(FusionError, RuntimeError):
    """An inference engine is not installed, or cannot run the network."""


class BagError(FusionError, RuntimeError):
    """A bag cannot be read or written as asked."""


def nearest_name(wanted: str, known: Iterable[str]) -> str:
    """Return a hint such as ``did you mean 'tolerance_ms'?`` or the list of known names.

    Meant to end an error message: a near miss is almost always a typing mistake, and
    where nothing is near, the complete list is the fastest way on.
    """
    names = sorted(known)
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known names: {', '.join(names)}"


def shortened(names: Sequence[str], limit: int = 3) -> str:
    """List the first few names, and count the rest."""
    if not names:
        return "none"
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
