"""Agreement with rosbags-image, an independent reader, on every encoding that it knows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fusion_ros.imaging import array_from_compressed, array_from_image, compressed_data, encoding, image_fields

oracle = pytest.importorskip("rosbags.image", reason="needs the package rosbags-image")
from rosbags.image.image import ENCODINGMAP  # noqa: E402

SIZE = (12, 16)
GENERIC = ["8UC1", "8UC3", "8SC2", "16UC1", "16SC1", "32SC1", "32FC1", "32FC2", "32FC9", "64FC1", "32F"]


def wire_message(name, is_bigendian=0):
    """Random bytes on the wire, made without the code under test."""
    known = encoding(name)
    step = SIZE[1] * known.pixel_bytes
    data = np.random.default_rng(5).integers(0, 256, known.rows(SIZE[0]) * step, np.uint8)
    return SimpleNamespace(
        height=SIZE[0], width=SIZE[1], encoding=name, is_bigendian=is_bigendian, step=step, data=data
    )


def oracle_array(message):
    """What rosbags-image reads, as RGB where the encoding has colour."""
    name = message.encoding
    if name.startswith("nv"):  # rosbags-image wants the rows of both planes as height
        message = SimpleNamespace(**{**vars(message), "height": SIZE[0] * 3 // 2})
    if name in ("mono8", "mono16") or name in GENERIC:
        return oracle.message_to_cvimage(message)
    depth = 16 if name.endswith("16") else 8
    return oracle.message_to_cvimage(message, f"{'rgba' if 'a8' in name or 'a16' in name else 'rgb'}{depth}")


@pytest.mark.parametrize("is_bigendian", [0, 1])
@pytest.mark.parametrize("name", [*ENCODINGMAP, *GENERIC])
def test_reading_agrees_with_rosbags_image(name, is_bigendian):
    message = wire_message(name, is_bigendian)
    np.testing.assert_array_equal(array_from_image(message), oracle_array(message))


@pytest.mark.parametrize("name", [*ENCODINGMAP, *GENERIC])
def test_rosbags_image_reads_what_we_write_as_we_do(name):
    known = encoding(name)
    pixels = array_from_image(wire_message(name))
    fields = image_fields(pixels, name)
    assert (fields.height, fields.width, fields.encoding) == (*SIZE, name)
    written = SimpleNamespace(**{**vars(fields), "data": np.frombuffer(fields.data, np.uint8)})
    expected = array_from_image(fields) if known.is_subsampled else pixels
    np.testing.assert_array_equal(oracle_array(written), expected)


@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_rosbags_image_decodes_what_we_compress_to_the_same_pixels(format):
    rgb = np.random.default_rng(6).integers(0, 256, (*SIZE, 3), np.uint8)
    message = SimpleNamespace(format=format, data=np.frombuffer(compressed_data(rgb, format), np.uint8))
    np.testing.assert_array_equal(array_from_compressed(message), oracle.message_to_cvimage(message, "rgb8"))
