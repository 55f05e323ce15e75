"""Pictures of what is trained, to look at while it is."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["flow_picture"]


def flow_picture(flow: np.ndarray, largest: float) -> np.ndarray:
    """Show a flow: its direction as hue (red points right), its length as saturation.

    Args:
        flow: ``(H, W, 2)`` in pixels, x first.
        largest: Length that is shown in full colour; a longer one is shown as this one.

    Returns:
        ``(H, W, 3)`` uint8 RGB; white where nothing moves.
    """
    length, angle = cv2.cartToPolar(flow[..., 0], flow[..., 1], angleInDegrees=True)
    saturation = np.clip(length / max(largest, 1e-6), 0, 1)
    hsv = np.stack([angle, saturation, np.ones_like(length)], axis=-1).astype(np.float32)
    return np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).astype(np.uint8)
