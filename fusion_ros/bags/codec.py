"""Raw bag records to CDR bytes and to message objects, whichever ROS recorded them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from rosbags.interfaces import MessageDefinitionFormat, Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

from ..errors import BagError

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.interfaces.typing import Fielddefs, Typesdict
    from rosbags.typesys.store import Typestore

__all__ = ["MessageCodec", "standard_types"]

_HEADER = "std_msgs/msg/Header"
_IDL_SEPARATOR = "=" * 80 + "\n"


@cache
def standard_types() -> Typestore:
    """The message types of ROS 2 Humble: the oldest supported set, unchanged since for all that we use."""
    return get_typestore(Stores.ROS2_HUMBLE)


class MessageCodec:
    """Decodes the records of one topic of one recording.

    Every message is given in its ROS 2 form: for a rosbag1 source the CDR bytes are rewritten (the
    header's ``seq`` is gone, fields are aligned) and ``CameraInfo`` has ``k``, not ``K``.

    Args:
        connection: The topic as ``rosbags`` describes it.
        ros1: Whether the records are in the ROS 1 wire format.
    """

    def __init__(self, connection: Connection, *, ros1: bool) -> None:
        self.type = connection.msgtype
        self._ros1 = ros1
        self._connection = connection
        self._recorded: Typestore | None = None  # parsed on first use: most topics are never decoded

    def cdr(self, raw: bytes) -> bytes:
        """Return the message as CDR bytes with the 4-byte encapsulation header.

        Raises:
            BagError: The bag holds no usable definition of a ROS 1 type, or the type changed its
                layout between ROS 1 and ROS 2.
        """
        if not self._ros1:
            return bytes(raw)
        types = self._recorded_types()
        if self.type in standard_types().fielddefs and not _same_layout(types, standard_types(), self.type):
            raise BagError(
                f"{self._connection.topic}: {self.type} has another layout in ROS 2 than in this ROS 1 bag; "
                "leave the topic out"
            )
        return self._cdr_from_ros1(raw)

    def message(self, raw: bytes) -> Any:
        """Return the message as an object with the type's fields as attributes.

        Raises:
            BagError: The bag holds no definition of the type, or the bytes do not fit it.
        """
        types = self._recorded_types()
        if self._ros1:
            raw = self._cdr_from_ros1(raw)
            if self.type in standard_types().fielddefs and _same_layout(types, standard_types(), self.type):
                types = standard_types()  # for the field names of ROS 2
        try:
            return types.deserialize_cdr(raw, self.type)
        except SerdeError as error:
            raise self._undecodable(error) from error

    @property
    def starts_with_header(self) -> bool:
        """Whether the type's first field is a ``std_msgs/Header``."""
        fields = self._recorded_types().fielddefs[self.type][1]
        return bool(fields) and fields[0][1] == (Nodetype.NAME, _HEADER)

    def _recorded_types(self) -> Typestore:
        if self._recorded is None:
            self._recorded = self._parse_definition()
        return self._recorded

    def _parse_definition(self) -> Typestore:
        definition = self._connection.msgdef
        if definition.format == MessageDefinitionFormat.NONE:
            if self.type not in standard_types().fielddefs:
                raise BagError(
                    f"{self._connection.topic}: the bag holds no definition of {self.type}, and it is not a "
                    "standard ROS 2 type; record with storage mcap, which keeps definitions"
                )
            return standard_types()
        store = get_typestore(Stores.EMPTY)
        try:
            if definition.format == MessageDefinitionFormat.MSG:
                types = get_types_from_msg(definition.data, self.type)
            else:
                types = _types_from_idl(definition.data)
            if self._ros1 and _HEADER in types:
                types[_HEADER] = standard_types().fielddefs[_HEADER]  # the wire conversion drops seq
            store.register(types)
        except TypesysError as error:
            raise BagError(
                f"{self._connection.topic}: cannot parse the bag's definition of {self.type}: {error}"
            ) from error
        return store

    def _cdr_from_ros1(self, raw: bytes) -> bytes:
        try:
            return bytes(self._recorded_types().ros1_to_cdr(raw, self.type))
        except SerdeError as error:
            raise self._undecodable(error) from error

    def _undecodable(self, error: Exception) -> BagError:
        return BagError(f"{self._connection.topic}: a record is not a valid {self.type}: {error}")


def _types_from_idl(text: str) -> Typesdict:
    """Parse one IDL file, or several joined the way that rosbag2 joins them."""
    if not text.startswith(f"{_IDL_SEPARATOR}IDL: "):
        return get_types_from_idl(text)
    types: Typesdict = {}
    for part in text.split(_IDL_SEPARATOR)[1:]:
        types.update(get_types_from_idl(part.partition("\n")[2]))
    return types


def _same_layout(first: Typestore, second: Typestore, name: str) -> bool:
    """Whether a type has the same fields in the same order in both stores; field names may differ."""
    fields = _field_types(first.fielddefs[name][1])
    if fields != _field_types(second.fielddefs[name][1]):
        return False
    nested = (item[1] for item in map(_element, fields) if item[0] == Nodetype.NAME)
    return all(_same_layout(first, second, str(item)) for item in nested)


def _field_types(fields: Fielddefs) -> list[Any]:
    return [kind for _, kind in fields]


def _element(kind: Any) -> Any:
    """Return the element of an array or sequence, else the field itself."""
    return kind[1][0] if kind[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE) else kind
