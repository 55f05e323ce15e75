"""Image messages of a bag as frames."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import BagError
from ..frame import Frame, Unit
from ..imaging import frame_from_compressed, frame_from_image
from .reader import IMAGE_TYPES, BagMessage, BagReader

__all__ = ["frame_of", "frames"]


def frame_of(message: BagMessage, unit: Unit | None = None) -> Frame:
    """Return the frame that a recorded raw or compressed image holds; its stamp is the header's.

    Args:
        unit: What the values mean; None takes 16-bit single-channel images for sensor counts.

    Raises:
        BagError: The message is not an image.
        ImageError: The image is malformed or has an unknown encoding.
    """
    if message.type not in IMAGE_TYPES:
        raise BagError(f"{message.topic}: expected {' or '.join(IMAGE_TYPES)}, got {message.type}")
    if message.type.endswith("/CompressedImage"):
        return frame_from_compressed(message.message, unit)
    return frame_from_image(message.message, unit)


def frames(
    reader: BagReader, topic: str, start_ns: int | None = None, stop_ns: int | None = None
) -> Iterator[Frame]:
    """Yield the frames of one image topic in receive order.

    Raises:
        BagError: The topic does not exist or carries no images; raised at the call, not at the first frame.
        ImageError: An image is malformed; raised when its turn comes.
    """
    reader.require(topic)
    return map(frame_of, reader.messages([topic], start_ns, stop_ns))
