"""Flows as colours, with the wheel that says what the colours mean."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["flow_picture", "flow_wheel", "with_flow_wheel"]

_SHARE = 5  # of the picture's shorter side: the wheel in its corner
_LEAST = 24  # px, below which a wheel cannot be read
_TEXT_PX = 150  # diameter of the wheel at which its text has OpenCV's own size


def flow_picture(flow: np.ndarray, largest: float) -> np.ndarray:
    """Show a flow: its direction as hue (red points right, green down and left), its length as saturation.

    Args:
        flow: ``(H, W, 2)`` in pixels, x first.
        largest: Length that is shown in full colour; a longer one is shown as this one.

    Returns:
        ``(H, W, 3)`` uint8 RGB; white where nothing moves.
    """
    x, y = (np.ascontiguousarray(flow[..., axis], np.float32) for axis in range(2))
    length, angle = cv2.cartToPolar(x, y, angleInDegrees=True)
    saturation = np.clip(length / max(largest, 1e-6), 0.0, 1.0)
    hsv = cv2.merge([angle, saturation, np.ones_like(length)])
    return np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255.0).astype(np.uint8)


def flow_wheel(diameter: int) -> np.ndarray:
    """Return the legend of :func:`flow_picture`: each point of a disc in the colour of the flow that points to it.

    The rim is the largest length.

    Returns:
        ``(diameter, diameter, 3)`` uint8 RGB; grey beyond the disc.
    """
    at = np.linspace(-1.0, 1.0, diameter, dtype=np.float32)
    flow = np.dstack(np.meshgrid(at, at))
    wheel = flow_picture(flow, 1.0)
    wheel[np.hypot(flow[..., 0], flow[..., 1]) > 1.0] = 96
    return wheel


def with_flow_wheel(picture: np.ndarray, largest: float) -> np.ndarray:
    """Return a flow's picture with the wheel in its lower right corner, and the length of its rim beside it.

    A picture that is too small for it is returned as it is.

    Args:
        picture: From :func:`flow_picture`, ``(H, W, 3)`` uint8.
        largest: As it was given there.
    """
    diameter = min(picture.shape[:2]) // _SHARE
    if diameter < _LEAST:
        return picture
    shown = picture.copy()
    shown[-diameter:, -diameter:] = flow_wheel(diameter)
    text, scale = f"{largest:.3g} px", diameter / _TEXT_PX
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    place = max(0, shown.shape[1] - diameter - width - 6), shown.shape[0] - 6
    return cv2.putText(shown, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)
