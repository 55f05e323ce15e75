"""``cv_bridge``, asked only for an encoding that we do not know ourselves.

Our own conversion needs no compiled module, honours ``step`` and byte order, and works with every
NumPy; so this is a last resort for the drivers' own names, where the package is installed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..errors import ImageError
from ..imaging import encoding

__all__ = ["bridged_array", "is_foreign"]


def is_foreign(name: str) -> bool:
    """Tell whether an encoding is unknown to us, while ``cv_bridge`` is there to be asked."""
    try:
        encoding(name)
    except ImageError:
        return _bridge() is not None
    return False


def bridged_array(message: Any) -> np.ndarray:
    """Return the pixels of an image message as ``cv_bridge`` reads them: ``(H, W)``, or ``(H, W, 3)`` RGB.

    Raises:
        ImageError: ``cv_bridge`` does not know the encoding either.
    """
    bridge = _bridge()
    assert bridge is not None  # is_foreign was asked before
    converter, failure = bridge
    try:
        pixels = converter.imgmsg_to_cv2(message, "passthrough")
        return pixels if pixels.ndim == 2 else converter.imgmsg_to_cv2(message, "rgb8")
    except (failure, KeyError) as error:
        raise ImageError(
            f"encoding {message.encoding!r} is known neither to fusion_ros nor to cv_bridge ({error}); "
            "have the driver publish one of sensor_msgs' image encodings"
        ) from error


@cache
def _bridge() -> tuple[Any, type[Exception]] | None:
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError:
        return None
    return CvBridge(), CvBridgeError
