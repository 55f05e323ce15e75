"""Reading recordings that were cut off: power lost, disk full, copy interrupted.

An mcap file without its footer is read up to its last whole chunk; a sqlite3 file that ends too
early is read up to its first missing page. Nothing is written: the damaged file stays as it is.
"""

from __future__ import annotations

import io
import os
import sqlite3
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import Reader, ReaderError

from ..errors import BagError

__all__ = ["TruncatedSqlite", "open_truncated_mcap"]

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _CHUNK, _MESSAGE_INDEX, _CHUNK_INDEX, _STATISTICS, _DATA_END = 0x02, 0x06, 0x07, 0x08, 0x0B, 0x0F


def open_truncated_mcap(path: Path) -> Reader:
    """Open an mcap file that has no footer, up to its last whole chunk.

    Raises:
        BagError: Not even the file's beginning is intact.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise BagError(f"{path}: not an mcap file (its first bytes are not the mcap magic)")
        end, chunks = _whole_chunks(file)
    reader = Reader(_MendedPath(path, end, _summary(end, chunks)))
    try:
        reader.open()
    except (ReaderError, ValueError, struct.error, OSError) as error:
        raise BagError(f"{path}: damaged beyond what can be read: {error}") from error
    return reader


@dataclass
class _Chunk:
    """What a chunk index record says, found by walking the file."""

    offset: int
    length: int
    start_ns: int
    end_ns: int
    uncompressed_size: int
    compression: bytes
    compressed_size: int
    index_offsets: dict[int, int] = field(default_factory=dict)
    index_length: int = 0


def _whole_chunks(file: IO[bytes]) -> tuple[int, list[_Chunk]]:
    """Walk the top-level records; return where the last whole one ends, and the chunks before that."""
    size = os.fstat(file.fileno()).st_size
    chunks: list[_Chunk] = []
    position = len(_MAGIC)
    while position + 9 <= size:
        file.seek(position)
        opcode, length = struct.unpack("<BQ", file.read(9))
        if opcode in (0, _FOOTER, _DATA_END) or position + 9 + length > size:
            break  # zero-filled, the end of the data, or the record that was being written
        if opcode == _CHUNK:
            chunks.append(_read_chunk(file, position, 9 + length))
        elif opcode == _MESSAGE_INDEX and chunks:
            (channel,) = struct.unpack("<H", file.read(2))
            chunks[-1].index_offsets[channel] = position
            chunks[-1].index_length += 9 + length
        position += 9 + length
    if chunks and not chunks[-1].index_offsets:
        position = chunks.pop().offset  # cut between a chunk and its index
    return position, chunks


def _read_chunk(file: IO[bytes], offset: int, length: int) -> _Chunk:
    start_ns, end_ns, uncompressed_size, _crc, name_length = struct.unpack("<QQQII", file.read(32))
    compression = file.read(name_length)
    (compressed_size,) = struct.unpack("<Q", file.read(8))
    return _Chunk(offset, length, start_ns, end_ns, uncompressed_size, compression, compressed_size)


def _summary(end: int, chunks: list[_Chunk]) -> bytes:
    """Build the file ending that is missing: chunk indexes (so that time order holds) and a footer."""
    records = [_record(_CHUNK_INDEX, _chunk_index(chunk)) for chunk in chunks]
    if records:
        records.append(_record(_STATISTICS, bytes(46)))  # no counts: the reader takes them from the chunks
    footer = _record(_FOOTER, struct.pack("<QQI", end if records else 0, 0, 0))
    return b"".join(records) + footer + _MAGIC


def _record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def _chunk_index(chunk: _Chunk) -> bytes:
    offsets = b"".join(struct.pack("<HQ", *item) for item in chunk.index_offsets.items())
    return b"".join(
        (
            struct.pack("<QQQQ", chunk.start_ns, chunk.end_ns, chunk.offset, chunk.length),
            struct.pack("<I", len(offsets)) + offsets,
            struct.pack("<QI", chunk.index_length, len(chunk.compression)) + chunk.compression,
            struct.pack("<QQ", chunk.compressed_size, chunk.uncompressed_size),
        )
    )


class _MendedPath:
    """The part of ``pathlib.Path`` that the bag reader uses, for a file with another ending."""

    def __init__(self, path: Path, length: int, ending: bytes) -> None:
        self._path, self._length, self._ending = path, length, ending
        self.suffix, self.stem = path.suffix, path.stem

    def exists(self) -> bool:
        return True

    def is_dir(self) -> bool:
        return False

    def open(self, mode: str = "rb") -> io.BufferedReader:
        return io.BufferedReader(_MendedFile(self._path.open(mode), self._length, self._ending))

    def __str__(self) -> str:
        return str(self._path)


class _MendedFile(io.RawIOBase):
    """The first ``length`` bytes of a file, followed by ``ending``."""

    def __init__(self, file: IO[bytes], length: int, ending: bytes) -> None:
        self._file, self._length, self._ending = file, length, ending
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length + len(self._ending)}
        self._position = base[whence] + offset
        return self._position

    def readinto(self, buffer: bytearray) -> int:
        wanted = len(buffer)
        if self._position < self._length:
            self._file.seek(self._position)
            data = self._file.read(min(wanted, self._length - self._position))
        else:
            start = self._position - self._length
            data = self._ending[start : start + wanted]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


class TruncatedSqlite:
    """A sqlite3 bag file that ends too early, read up to its first missing page.

    Has the part of ``rosbags.rosbag2.Reader`` that :class:`~fusion_ros.bags.reader.BagReader` uses.

    Raises:
        BagError: Not even the list of topics is intact.
    """

    def __init__(self, path: Path) -> None:
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        # A player may open the bag in one thread and read it in another, one at a time.
        self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        # Without this, SQLite refuses any file that is shorter than its header says.
        self._connection.execute("PRAGMA writable_schema=ON")
        try:
            self.connections = self._read_topics()
        except sqlite3.Error as error:
            self.close()
            raise BagError(f"{path}: damaged beyond what can be read: {error}") from error
        self._index = self._read_index()  # (receive_ns, row, topic id), by time
        counts = {topic: 0 for topic in (connection.id for connection in self.connections)}
        for _, _, topic in self._index:
            counts[topic] += 1
        self.connections = [item._replace(msgcount=counts[item.id]) for item in self.connections]
        self.message_count = len(self._index)
        self.start_time = self._index[0][0] if self._index else 0
        self.end_time = self._index[-1][0] + 1 if self._index else 0

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield ``(connection, receive_ns, raw)`` in time order, from ``start`` to before ``stop``."""
        wanted = {connection.id: connection for connection in connections}
        for stamp, row, topic in self._index:
            if topic not in wanted or (start is not None and stamp < start):
                continue
            if stop is not None and stamp >= stop:
                return
            (raw,) = self._connection.execute("SELECT data FROM messages WHERE id = ?", (row,)).fetchone()
            yield wanted[topic], stamp, raw

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _read_topics(self) -> list[Connection]:
        definitions = self._read_definitions()
        rows = self._connection.execute("SELECT id, name, type, serialization_format FROM topics ORDER BY id")
        return [
            Connection(
                id=row,
                topic=name,
                msgtype=kind,
                msgdef=definitions.get(kind, MessageDefinition(MessageDefinitionFormat.NONE, "")),
                digest="",
                msgcount=0,
                ext=ConnectionExtRosbag2(serialization, []),
                owner=self,
            )
            for row, name, kind, serialization in rows
        ]

    def _read_definitions(self) -> dict[str, MessageDefinition]:
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        if "message_definitions" not in tables:
            return {}
        formats = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}
        rows = self._connection.execute(
            "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
        )
        return {kind: MessageDefinition(formats[name], text) for kind, name, text in rows if name in formats}

    def _read_index(self) -> list[tuple[int, int, int]]:
        index: list[tuple[int, int, int]] = []
        topics = {connection.id for connection in self.connections}
        # The data is selected too, so that a message whose last pages are missing does not count.
        rows = self._connection.execute("SELECT timestamp, id, topic_id, data FROM messages ORDER BY id")
        try:
            for stamp, row, topic, _ in rows:
                if topic in topics:
                    index.append((stamp, row, topic))
        except sqlite3.DatabaseError:
            pass  # the first missing page is the end of what can be read, and that is what is asked for
        return sorted(index)
