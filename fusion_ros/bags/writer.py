"""Writing rosbag2 recordings that ROS 2 Humble and every later distribution can play."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

from ..errors import BagError, nearest_name
from ..frame import Frame
from ..imaging import compressed_data, image_fields
from .codec import standard_types
from .sources import check_sqlite_path

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

__all__ = ["STORAGES", "BagWriter"]

STORAGES = ("mcap", "sqlite3")

_T = TypeVar("_T")
# Version 9 writes quality-of-service profiles as a list, which Humble's reader refuses.
_METADATA_VERSION = 8
_IMAGE = "sensor_msgs/msg/Image"
_COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"


class BagWriter:
    """Records one bag: a folder with ``metadata.yaml`` and one storage file.

    Use it as a context manager. The bag is valid however the block ends, also by an exception or
    Ctrl-C: all writing happens on one thread of its own, and Python raises Ctrl-C in the main
    thread, so a record is never cut in half. Methods may be called from any thread.

    Quality-of-service profiles are left empty: a player then publishes with its defaults.

    Args:
        path: The folder to make.
        storage: ``mcap``, which survives a power cut up to the last whole chunk and keeps message
            definitions in every distribution, or ``sqlite3``, written as one transaction.
        overwrite: Replace an existing bag. Only a bag is ever removed, nothing else at ``path``.

    Raises:
        BagError: ``path`` exists, the folder cannot be made, or sqlite3 cannot have a file of this path.
    """

    def __init__(self, path: str | Path, storage: str = "mcap", overwrite: bool = False) -> None:
        self.path = Path(path)
        if storage not in STORAGES:
            raise BagError(f"storage: expected one of {', '.join(STORAGES)}, got {storage!r}")
        if storage == "sqlite3":
            check_sqlite_path(self.path)
        if self.path.exists():
            _make_room(self.path, overwrite)
        self._types = standard_types()
        self._connections: dict[str, Connection] = {}
        self._counts: dict[str, int] = {}
        self._closed = False
        self._failed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bag-writer")
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        self._writer = Writer(self.path, version=_METADATA_VERSION, storage_plugin=plugin)
        try:
            self._run(self._writer.open)
        except BaseException:
            self._thread.shutdown()
            raise

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except BagError:
            if error is None:
                raise  # otherwise the reason is already on its way

    def close(self) -> None:
        """Write the index and the metadata; closing twice is allowed.

        Raises:
            BagError: The disk is full; what was written stays and can be salvaged.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._run(self._finish)
        finally:
            self._thread.shutdown()

    def count(self, topic: str) -> int:
        """Number of messages written to a topic; 0 for one that is not in the bag."""
        return self._counts.get(topic, 0)

    def write_frame(self, topic: str, frame: Frame, receive_ns: int, compressed: str = "") -> None:
        """Write a frame in its own encoding, or compressed.

        Args:
            compressed: ``png`` or ``jpeg`` writes a ``CompressedImage``; empty a raw ``Image``.

        Raises:
            ImageError: The pixels do not fit the frame's encoding or the compression.
            BagError: The disk is full, or the topic already has another type.
        """
        if compressed:
            data = np.frombuffer(compressed_data(frame.pixels, compressed), np.uint8)
            fields: dict[str, Any] = {"format": compressed, "data": data}
            self._write_message(topic, _COMPRESSED_IMAGE, frame.stamp_ns, frame.frame_id, fields, receive_ns)
            return
        image = image_fields(frame.pixels, frame.encoding)
        fields = {
            "height": image.height,
            "width": image.width,
            "encoding": image.encoding,
            "is_bigendian": int(image.is_bigendian),
            "step": image.step,
            "data": np.frombuffer(image.data, np.uint8),
        }
        self._write_message(topic, _IMAGE, frame.stamp_ns, frame.frame_id, fields, receive_ns)

    def write_camera_info(
        self, topic: str, fields: Mapping[str, Any], stamp_ns: int, frame_id: str, receive_ns: int
    ) -> None:
        """Write a calibration.

        Args:
            fields: What :meth:`fusion_ros.geometry.PinholeCamera.camera_info_fields` gives: ``height``,
                ``width``, ``distortion_model``, ``d``, ``k``, ``r`` and ``p`` (row-major).

        Raises:
            BagError: A field is unknown, missing or of the wrong length, the disk is full, or the topic
                already has another type.
        """
        message = _camera_info_fields(topic, fields)
        region = self._types.types["sensor_msgs/msg/RegionOfInterest"]
        message["roi"] = region(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        self._write_message(topic, _CAMERA_INFO, stamp_ns, frame_id, message, receive_ns)

    def write_cdr(self, topic: str, type: str, cdr: bytes, receive_ns: int, definition: str = "") -> None:
        """Write a serialised message as it came, as a recorder does.

        Args:
            type: For example ``sensor_msgs/msg/Image``.
            cdr: CDR bytes with the encapsulation header.
            definition: Text of the ``.msg`` definition; needed only for a type that is not a standard one.

        Raises:
            BagError: The type is unknown and no definition is given, the disk is full, or the topic
                already has another type.
        """
        self._record(topic, type, cdr, receive_ns, definition)

    def _write_message(
        self,
        topic: str,
        type: str,
        stamp_ns: int,
        frame_id: str,
        fields: Mapping[str, Any],
        receive_ns: int,
    ) -> None:
        sec, nanosec = divmod(stamp_ns, 1_000_000_000)
        types = self._types.types
        stamp = types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)
        cdr = self._types.serialize_cdr(types[type](header=header, **fields), type)
        self._record(topic, type, cdr, receive_ns, "")

    def _record(self, topic: str, type: str, cdr: bytes | memoryview, receive_ns: int, definition: str) -> None:
        if self._closed:
            raise BagError(f"{self.path} is closed")
        self._run(self._append, topic, type, cdr, receive_ns, definition)

    def _append(self, topic: str, type: str, cdr: bytes | memoryview, receive_ns: int, definition: str) -> None:
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._connect(topic, type, definition)
        if connection.msgtype != type:
            raise BagError(f"{topic} already carries {connection.msgtype}, cannot add {type}")
        self._writer.write(connection, receive_ns, cdr)
        self._counts[topic] += 1

    def _connect(self, topic: str, type: str, definition: str) -> Connection:
        types = self._types
        if type not in types.fielddefs:
            types = _defined(type, definition, types.fielddefs)
        connection = self._writer.add_connection(topic, type, typestore=types)
        self._connections[topic] = connection
        self._counts[topic] = 0
        return connection

    def _finish(self) -> None:
        if self._failed and self._writer.storage_plugin is StoragePlugin.MCAP:
            self._writer.abort()  # a chunk may be half written: an index behind it would hide that
            return
        try:
            self._writer.close()
        except BaseException:
            self._writer.abort()
            raise

    def _run(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Do ``work`` on the writing thread and wait for it."""
        try:
            return self._thread.submit(work, *arguments).result()
        except (OSError, sqlite3.Error) as error:
            self._failed = True
            raise BagError(
                f"cannot write {self.path}: {error}; free disk space or choose another place"
            ) from error
        except WriterError as error:
            raise BagError(f"cannot write {self.path}: {error}") from error


def _make_room(path: Path, overwrite: bool) -> None:
    if not overwrite:
        raise BagError(f"{path} exists already; choose another name or allow overwriting (--overwrite)")
    if not (path / "metadata.yaml").is_file():
        raise BagError(f"{path} exists and is not a bag, so it is not overwritten; remove it yourself")
    shutil.rmtree(path)


def _camera_info_fields(topic: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Check and convert the fields of a CameraInfo, all but header and region of interest."""
    lengths = {"k": 9, "r": 9, "p": 12}
    expected = {"height", "width", "distortion_model", "d", *lengths}
    if set(fields) != expected:
        wrong = ", ".join(sorted(set(fields) ^ expected))
        raise BagError(f"{topic}: expected the fields {', '.join(sorted(expected))}; check {wrong}")
    arrays = {name: np.asarray(fields[name], np.float64).ravel() for name in ("d", *lengths)}
    for name, length in lengths.items():
        if arrays[name].size != length:
            raise BagError(f"{topic}: expected {length} values in {name}, got {arrays[name].size}")
    return {
        "height": int(fields["height"]),
        "width": int(fields["width"]),
        "distortion_model": str(fields["distortion_model"]),
        **arrays,
        "binning_x": 0,
        "binning_y": 0,
    }


def _defined(type: str, definition: str, standard: Mapping[str, Any]) -> Any:
    """Return a typestore that knows ``type`` by its definition."""
    if not definition:
        raise BagError(
            f"{type} is not a standard message type; pass its definition ({nearest_name(type, standard)})"
        )
    store = get_typestore(Stores.ROS2_HUMBLE)
    try:
        store.register(get_types_from_msg(definition, type))
        store.generate_msgdef(type, ros_version=2)  # fails here where it names a type that nobody knows
    except TypesysError as error:
        raise BagError(f"cannot parse the definition of {type}: {error}") from error
    return store
