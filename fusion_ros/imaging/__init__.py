"""Image messages to arrays and back; 16-bit thermal to [0, 1]; luma and chroma; value ranges."""

from .colour import luma, merge, packed, split, to_uint8
from .compressed import array_from_compressed, compressed_data, frame_from_compressed
from .convert import ImageFields, array_from_image, check_image, frame_from_image, image_fields
from .encodings import Encoding, Layout, encoding, known_encodings
from .ranges import MethodRanges, RangeSettings, RunningRange
from .thermal import ThermalNormaliser, ThermalSettings, single_channel

__all__ = [
    "Encoding",
    "ImageFields",
    "Layout",
    "MethodRanges",
    "RangeSettings",
    "RunningRange",
    "ThermalNormaliser",
    "ThermalSettings",
    "array_from_compressed",
    "array_from_image",
    "check_image",
    "compressed_data",
    "encoding",
    "frame_from_compressed",
    "frame_from_image",
    "image_fields",
    "known_encodings",
    "luma",
    "merge",
    "packed",
    "single_channel",
    "split",
    "to_uint8",
]
