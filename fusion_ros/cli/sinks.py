"""Where fused images go: one file, a folder of files, or a video."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from ..errors import ImageError
from ..media import IMAGE_SUFFIXES, VIDEO_SUFFIXES

__all__ = ["ImageSink", "open_sink", "refuse_existing", "write_image"]


class ImageSink(Protocol):
    """Takes images one after the other."""

    path: Path

    def write(self, name: str, image: np.ndarray) -> None:
        """Store one uint8 image, ``(H, W)`` or ``(H, W, 3)`` RGB."""

    def close(self) -> None:
        """Finish; what was written so far is valid."""


def open_sink(path: str | Path, *, many: bool, rate_hz: float, overwrite: bool) -> ImageSink:
    """Return the sink that ``path`` names by its suffix: an image, a video, else a folder.

    Args:
        many: Whether more than one image will come.
        rate_hz: Frame rate of a video.

    Raises:
        ImageError: The path is taken and ``overwrite`` is not set, or names one image for many.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        if many:
            raise ImageError(f"{path}: many images cannot go into one; give a folder or a video (.mp4)")
        refuse_existing(path, path.exists(), overwrite)
        return _FileSink(path)
    if suffix in VIDEO_SUFFIXES:
        refuse_existing(path, path.exists(), overwrite)
        return _VideoSink(path, rate_hz)
    if path.exists() and not path.is_dir():
        raise ImageError(f"{path}: expected a folder, an image or a video (.mp4), got a file")
    refuse_existing(path, path.is_dir() and any(path.iterdir()), overwrite)
    return _FolderSink(path)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image in the format of the suffix; colour is given in RGB order, 16 bits are kept.

    Raises:
        ImageError: The format cannot hold the image, or the file cannot be written.
    """
    wire = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    try:
        done, data = cv2.imencode(path.suffix, wire)
    except cv2.error as error:
        raise ImageError(f"{path}: cannot encode {image.dtype} {image.shape}: {error.err}") from error
    if not done:
        raise ImageError(f"{path}: cannot encode {image.dtype} {image.shape} in this format")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise ImageError(f"{path}: cannot be written: {error.strerror}") from error


def refuse_existing(path: Path, taken: bool, overwrite: bool) -> None:
    """Raise :class:`ImageError` where ``path`` is ``taken`` and may not be overwritten."""
    if taken and not overwrite:
        raise ImageError(f"{path} exists already; choose another name or add --overwrite")


class _FileSink:
    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, image: np.ndarray) -> None:
        write_image(self.path, image)

    def close(self) -> None:
        pass


class _FolderSink:
    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, image: np.ndarray) -> None:
        write_image(self.path / f"{name}.png", image)

    def close(self) -> None:
        pass


class _VideoSink:
    """Opened with the first image, which decides the size."""

    def __init__(self, path: Path, rate_hz: float) -> None:
        self.path = path
        self._rate_hz = rate_hz
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] = ()

    def write(self, name: str, image: np.ndarray) -> None:
        if self._writer is None:
            self._writer = self._open(image)
        if image.shape != self._shape:
            raise ImageError(f"{self.path}: frame {name} is {image.shape}, the video is {self._shape}")
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()

    def _open(self, image: np.ndarray) -> cv2.VideoWriter:
        self._shape = image.shape
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fourcc = cv2.VideoWriter_fourcc(*("MJPG" if self.path.suffix.lower() == ".avi" else "mp4v"))
        height, width = image.shape[:2]
        writer = cv2.VideoWriter(str(self.path), fourcc, self._rate_hz, (width, height), image.ndim == 3)
        if not writer.isOpened():
            raise ImageError(f"{self.path}: cannot be written as a video; try .mp4 or .avi, or give a folder")
        return writer
