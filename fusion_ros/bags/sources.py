"""The files behind a bag: which reader fits a path, and what to do when one is damaged."""

from __future__ import annotations

import re
import shlex
import struct
import sys
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import apsw
from rosbags.rosbag1 import Reader as Rosbag1Reader
from rosbags.rosbag1 import ReaderError as Rosbag1Error
from rosbags.rosbag2 import Reader as Rosbag2Reader
from rosbags.rosbag2 import ReaderError as Rosbag2Error

from ..errors import BagError
from .salvage import TruncatedSqlite, open_truncated_mcap

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

__all__ = ["FORMAT_ERRORS", "OpenedSource", "Source", "check_sqlite_path", "open_sources"]

FORMAT_ERRORS = (
    Rosbag1Error,
    Rosbag2Error,
    apsw.Error,
    zstd.ZstdError,
    AssertionError,
    OSError,
    struct.error,
    EOFError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the parsers of rosbags raise on bytes that are not what they should be."""

_STORAGE_SUFFIXES = (".mcap", ".db3")
# What rosbags puts into SQLite's address of a file as it is, and SQLite takes for something else.
_NOT_IN_ADDRESS = re.compile(r"[#?]|%[0-9A-Fa-f]{2}")


class Source(Protocol):
    """What one file or folder gives; the readers of rosbags fit as they are.

    ``start_time`` is the first message's, ``end_time`` the first instant after the last one.
    """

    @property
    def connections(self) -> list[Connection]:
        """The topics."""

    @property
    def message_count(self) -> int:
        """Number of messages of all topics."""

    @property
    def start_time(self) -> int:
        """Nanoseconds."""

    @property
    def end_time(self) -> int:
        """Nanoseconds."""

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield ``(connection, receive_ns, raw)`` in time order, from ``start`` to before ``stop``."""

    def close(self) -> None:
        """Close the file."""


@dataclass(frozen=True)
class OpenedSource:
    """An open source, whether its records are in the ROS 1 wire format, and what is missing (or nothing)."""

    source: Source
    ros1: bool = False
    damage: str = ""


def open_sources(path: Path, *, salvage: bool) -> Iterator[OpenedSource]:
    """Open what is at ``path``, one source after the other; each is the caller's to close.

    Args:
        salvage: Open damaged files as far as they go.

    Raises:
        BagError: There is nothing, no bag, a storage that cannot be read, or damage without ``salvage``.
    """
    if not path.exists():
        raise BagError(f"no bag at {path}")
    if path.is_dir():
        yield from _open_folder(path, salvage)
    elif path.suffix == ".bag":
        yield OpenedSource(_open_rosbag1(path), ros1=True)
    elif path.suffix in _STORAGE_SUFFIXES:
        _check_file(path)
        yield _open_file(path, salvage)
    else:
        raise BagError(
            f"{path} is not a bag: expected a rosbag2 folder or a .mcap, .db3 or .bag file, "
            f"got suffix {path.suffix!r}"
        )


def _open_folder(path: Path, salvage: bool) -> Iterator[OpenedSource]:
    files = sorted(file for file in path.iterdir() if file.suffix in _STORAGE_SUFFIXES)
    for file in files:
        _check_file(file)
    if (path / "metadata.yaml").exists():
        try:
            reader = _opened(path)
        except FORMAT_ERRORS as error:
            if not any(map(_is_damaged, files)):
                raise BagError(f"cannot read {path}: {error}") from error
        else:
            yield OpenedSource(reader)
            return
    elif not files:
        raise BagError(
            f"{path} is not a bag: expected metadata.yaml or {' / '.join(_STORAGE_SUFFIXES)} files in it"
        )
    # A recorder that was killed leaves no metadata.yaml; its storage files describe themselves.
    for file in files:
        yield _open_file(file, salvage)


def check_sqlite_path(path: Path) -> None:
    """Make sure that a sqlite3 bag can be opened at ``path``, as it is given: relative paths stay so.

    Raises:
        BagError: SQLite would look for it somewhere else.
    """
    found = _NOT_IN_ADDRESS.search(str(path))
    if found:
        raise BagError(
            f"{path}: expected a path without '#', '?' and '%' before two hexadecimal digits, got {found[0]!r}, "
            "which SQLite does not take for a part of the name; rename the folder, go into it and give a relative "
            "path, or use storage mcap"
        )


def _check_file(path: Path) -> None:
    """Refuse a sqlite3 file of which SQLite would be shown another file, or only a part."""
    if path.suffix != ".db3":
        return
    check_sqlite_path(path)
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        command = f"sqlite3 {shlex.quote(str(path))} 'PRAGMA wal_checkpoint(TRUNCATE)'"
        raise BagError(
            f"{path}: its last messages are still in {log.name}, for the recorder was killed or is running; once "
            f"it has ended, bring them in with: {command}"
        )


def _open_file(path: Path, salvage: bool) -> OpenedSource:
    try:
        return OpenedSource(_opened(path))
    except FORMAT_ERRORS as error:
        if path.stat().st_size == 0:
            raise BagError(f"{path} is empty: nothing was recorded, or a copy failed") from error
        source = _salvaged(path)
        damage = f"{path} is cut off: {source.message_count} messages can be read up to the damage"
        if salvage:
            return OpenedSource(source, damage=damage)
        source.close()
        raise BagError(f"{damage}; open it with salvage (--salvage) to have them ({error})") from error


def _opened(path: Path) -> Rosbag2Reader:
    reader = Rosbag2Reader(path)
    reader.open()
    return reader


def _is_damaged(path: Path) -> bool:
    try:
        _opened(path).close()
    except FORMAT_ERRORS:
        return True
    return False


def _open_rosbag1(path: Path) -> Source:
    try:
        reader = _Rosbag1Source(path)
        reader.open()
    except FORMAT_ERRORS as error:
        raise BagError(
            f"cannot read {path}: {error}; a ROS 1 bag that was cut off needs its index rebuilt with "
            "'rosbag reindex' first"
        ) from error
    return reader


class _Rosbag1Source(Rosbag1Reader):
    """Says in words what its parent only asserts of the bytes that it reads."""

    def open(self) -> None:
        with _in_words():
            super().open()

    def messages(
        self, connections: Collection[Connection] = (), start: int | None = None, stop: int | None = None
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        with _in_words():
            yield from super().messages(connections, start, stop)


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        raise Rosbag1Error("a record is not what the index of the bag says of it") from error


def _salvaged(path: Path) -> Source:
    opener: Callable[[Path], Source] = open_truncated_mcap if path.suffix == ".mcap" else TruncatedSqlite
    return opener(path)
