"""The image encodings of ``sensor_msgs``: how an encoding's name describes pixels in memory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ..errors import ImageError, nearest_name

__all__ = ["Encoding", "Layout", "encoding", "known_encodings"]


class Layout(Enum):
    """How the samples of an image are arranged on the wire."""

    PLAIN = "plain"
    """All channels of a pixel side by side, colour with red first; alpha, if any, last."""
    BLUE_FIRST = "blue_first"
    """As ``PLAIN`` with red and blue exchanged."""
    BAYER = "bayer"
    """One sample per pixel behind a colour filter mosaic."""
    YUV422 = "yuv422"
    """Packed 4:2:2: two samples per pixel, two neighbours in a row share their chroma."""
    YUV420 = "yuv420"
    """A plane of luma followed by a half-height plane of interleaved chroma."""


@dataclass(frozen=True)
class Encoding:
    """What an encoding's name says.

    Attributes:
        name: The ``sensor_msgs/image_encodings`` name.
        dtype: Type of a sample, in this machine's byte order.
        channels: Interleaved samples per pixel on the wire (in the luma plane for ``YUV420``).
        layout: How the samples are arranged.
        pattern: Order of the sub-sampled colour: ``rggb`` for Bayer, ``uyvy`` or ``yuyv`` for 4:2:2,
            ``nv12`` or ``nv21`` for 4:2:0; empty for the others.
    """

    name: str
    dtype: np.dtype
    channels: int
    layout: Layout = Layout.PLAIN
    pattern: str = ""

    @property
    def is_subsampled(self) -> bool:
        """Whether RGB has to be computed from neighbouring samples, so that no view can give it."""
        return self.layout in (Layout.BAYER, Layout.YUV422, Layout.YUV420)

    @property
    def array_channels(self) -> int:
        """Channels of the image once it is in RGB(A) or grey order."""
        return 3 if self.is_subsampled else self.channels

    @property
    def pixel_bytes(self) -> int:
        """Bytes per pixel of a row (of the luma plane for ``YUV420``)."""
        return self.dtype.itemsize * self.channels

    def rows(self, height: int) -> int:
        """Number of rows on the wire, each ``step`` bytes, of an image ``height`` pixels high."""
        return height * 3 // 2 if self.layout is Layout.YUV420 else height

    def check_size(self, height: int, width: int) -> None:
        """Refuse an image size that the encoding cannot have.

        Raises:
            ImageError: Zero or negative size, or one that the sub-sampled colour does not fit.
        """
        if height < 1 or width < 1:
            raise ImageError(f"expected an image of at least 1 x 1 pixel, got height {height}, width {width}")
        if self.layout in (Layout.YUV422, Layout.YUV420) and width % 2:
            raise ImageError(f"{self.name}: two neighbours share a colour, expected an even width, got {width}")
        if self.layout is Layout.YUV420 and height % 2:
            raise ImageError(f"{self.name}: two rows share their colour, expected an even height, got {height}")
        if self.layout is Layout.BAYER and min(height, width) < 3:
            raise ImageError(
                f"{self.name}: a colour mosaic needs at least 3 x 3 pixels, got height {height}, width {width}"
            )


def encoding(name: str) -> Encoding:
    """Look an encoding up by its name, including generic ones such as ``32FC7``.

    As in ``sensor_msgs``, a missing channel count (``8UC``, ``32F``) means one channel.

    Raises:
        ImageError: The name is unknown; the nearest known one is given.
    """
    known = _NAMED.get(name)
    if known is not None:
        return known
    generic = _GENERIC.fullmatch(name)
    if generic is None:
        raise ImageError(f"unknown image encoding {name!r}; {_nearest(name)}")
    return Encoding(name, _DTYPES[generic["depth"]], int(generic["channels"] or 1))


def known_encodings() -> tuple[str, ...]:
    """Names of all named encodings, and of the generic ones (``8UCn`` to ``64FCn``) with one channel."""
    return *_NAMED, *(f"{depth}C1" for depth in _DTYPES)


def _nearest(name: str) -> str:
    generic = (f"{depth}C{channels}" for depth in _DTYPES for channels in range(2, 5))
    by_lower = {known.lower(): known for known in (*known_encodings(), *generic)}
    if name.lower() in by_lower:  # a wrong case is further away by letters than another encoding
        return f"did you mean {by_lower[name.lower()]!r}?"
    return nearest_name(name, known_encodings())


def _named() -> dict[str, Encoding]:
    table = []
    for bits, dtype in ((8, np.dtype(np.uint8)), (16, np.dtype(np.uint16))):
        table += [
            Encoding(f"mono{bits}", dtype, 1),
            Encoding(f"rgb{bits}", dtype, 3),
            Encoding(f"rgba{bits}", dtype, 4),
            Encoding(f"bgr{bits}", dtype, 3, Layout.BLUE_FIRST),
            Encoding(f"bgra{bits}", dtype, 4, Layout.BLUE_FIRST),
        ]
        for pattern in ("rggb", "bggr", "gbrg", "grbg"):
            table.append(Encoding(f"bayer_{pattern}{bits}", dtype, 1, Layout.BAYER, pattern))
    byte = np.dtype(np.uint8)
    # yuv422 and yuv422_yuy2 are the older names of uyvy and yuyv.
    for name, pattern in (("uyvy", "uyvy"), ("yuv422", "uyvy"), ("yuyv", "yuyv"), ("yuv422_yuy2", "yuyv")):
        table.append(Encoding(name, byte, 2, Layout.YUV422, pattern))
    for name in ("nv12", "nv21"):
        table.append(Encoding(name, byte, 1, Layout.YUV420, name))
    return {entry.name: entry for entry in table}


_DTYPES = {
    "8U": np.dtype(np.uint8),
    "8S": np.dtype(np.int8),
    "16U": np.dtype(np.uint16),
    "16S": np.dtype(np.int16),
    "32S": np.dtype(np.int32),
    "32F": np.dtype(np.float32),
    "64F": np.dtype(np.float64),
}
_GENERIC = re.compile(rf"(?P<depth>{'|'.join(_DTYPES)})(?:C(?P<channels>[1-9][0-9]*)?)?", re.ASCII)
_NAMED = _named()
