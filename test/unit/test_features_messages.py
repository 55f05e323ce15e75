"""Feature maps in messages: quantised, described, and decoded again by whoever subscribes."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fusion_ros.errors import ImageError
from fusion_ros.features import FeatureDescription, LayerDescription, as_tensor, decode_features
from fusion_ros.features.quantise import Quantisation, Quantiser
from fusion_ros.imaging import image_fields

SECOND = 1_000_000_000
HEIGHT, WIDTH, CHANNELS = 6, 9, 5
VALUES = np.random.default_rng(0).normal(0.3, 2.0, (HEIGHT, WIDTH, CHANNELS)).astype(np.float32)
LAYER = LayerDescription("fused", "/fused/features", 4, CHANNELS, "Fused.", f"32FC{CHANNELS}", (26, 36))
DESCRIPTION = FeatureDescription(
    "small", "rfn_nest", "ab" * 32, (LAYER, replace(LAYER, name="deep", topic="/f/deep"))
)


def _message(values, encoding, stamp_ns=SECOND, /, **changes):
    """A sensor_msgs/Image, as far as a decoder looks at it."""
    flat = values[..., 0] if values.shape[2] == 1 else values
    fields = vars(image_fields(flat, encoding)) | {"data": image_fields(flat, encoding).data.tobytes()}
    stamp = SimpleNamespace(sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND)
    return SimpleNamespace(**{**fields, "header": SimpleNamespace(stamp=stamp), **changes})


def _described(quantiser):
    layer = replace(LAYER, encoding=f"8UC{CHANNELS}", quantisation=quantiser.entries)
    return FeatureDescription("small", "rfn_nest", None, (layer,)).to_json()


def test_float_values_come_back_as_they_were_with_their_place_in_the_image():
    grid = decode_features(_message(VALUES, f"32FC{CHANNELS}"), DESCRIPTION.to_json())
    np.testing.assert_array_equal(grid.values, VALUES)
    assert (grid.stride, grid.size) == (4, (26, 36))
    assert grid.pixels(0) == 1.5


def test_float_values_are_a_view_on_the_messages_memory():
    buffer = bytearray(VALUES.tobytes())
    grid = decode_features(_message(VALUES, f"32FC{CHANNELS}", data=buffer), DESCRIPTION)
    assert np.shares_memory(grid.values, np.frombuffer(buffer, np.uint8))
    tensor = as_tensor(grid)
    assert tensor.shape == (1, CHANNELS, HEIGHT, WIDTH)
    np.testing.assert_array_equal(tensor[0].numpy(), VALUES.transpose(2, 0, 1))
    tensor[0, 1, 2, 3] = 7.0
    assert np.frombuffer(buffer, np.float32).reshape(VALUES.shape)[2, 3, 1] == 7.0


def test_a_tensor_of_read_only_memory_may_be_written_and_leaves_the_message_alone(recwarn):
    message = _message(VALUES, f"32FC{CHANNELS}")
    tensor = as_tensor(decode_features(message, DESCRIPTION))
    tensor.zero_()
    np.testing.assert_array_equal(np.frombuffer(message.data, np.float32), VALUES.ravel())
    assert not recwarn


@pytest.mark.parametrize("rows", [dict(padding=0), dict(padding=12)])
def test_padded_rows_and_the_other_byte_order_are_read(rows):
    row = np.zeros((HEIGHT, WIDTH * CHANNELS * 4 + rows["padding"]), np.uint8)
    row[:, : WIDTH * CHANNELS * 4] = VALUES.astype(">f4").reshape(HEIGHT, -1).view(np.uint8)
    message = _message(VALUES, f"32FC{CHANNELS}", data=row.tobytes(), step=row.shape[1], is_bigendian=1)
    np.testing.assert_array_equal(decode_features(message, DESCRIPTION).values, VALUES)


def test_a_single_channel_keeps_its_axis():
    layer = replace(LAYER, channels=1, encoding="32FC1")
    grid = decode_features(_message(VALUES[..., :1], "32FC1"), FeatureDescription("m", "n", None, (layer,)))
    np.testing.assert_array_equal(grid.values, VALUES[..., :1])


@pytest.mark.parametrize("values", [VALUES, 5.0 + 1e-3 * VALUES, np.abs(VALUES), -np.abs(VALUES), 0 * VALUES + 3])
def test_eight_bits_come_back_to_within_half_a_step(values):
    quantiser = Quantiser()
    message = _message(quantiser(values, SECOND), f"8UC{CHANNELS}")
    restored = decode_features(message, _described(quantiser)).values
    assert restored.dtype == np.float32
    span = values.max() - values.min()
    assert quantiser.entries[0].scale <= max(span / 250, 1e-7)
    rounding = 4 * np.finfo(np.float32).eps * np.abs(values).max()
    assert np.abs(restored - values).max() <= 0.5 * quantiser.entries[0].scale + rounding


def test_zero_stays_zero_where_the_map_has_it():
    quantiser = Quantiser()
    sparse = np.where(np.abs(VALUES) > 2, VALUES, 0).astype(np.float32)
    restored = decode_features(_message(quantiser(sparse, 0), f"8UC{CHANNELS}", 0), _described(quantiser)).values
    assert not restored[sparse == 0].any()


def test_a_range_widens_only_when_more_than_a_thousandth_would_saturate():
    frame = np.random.default_rng(1).uniform(-1, 1, (50, 50, 4)).astype(np.float32)
    quantiser = Quantiser()
    quantiser(frame, 0)
    few, many = frame.copy(), frame.copy()
    few.reshape(-1)[:10], many.reshape(-1)[:11] = 5.0, 5.0
    assert quantiser(few, SECOND).reshape(-1)[0] == 255
    assert len(quantiser.entries) == 1
    wide = quantiser(many, 2 * SECOND)
    assert [entry.from_stamp_ns for entry in quantiser.entries] == [0, 2 * SECOND]
    latest = quantiser.entries[-1]
    assert np.abs(latest.restore(wide) - many).max() <= 0.5001 * latest.scale
    assert latest.range[1] > 5.5  # a little more than was asked for: it need not change with each frame
    assert latest.range[0] == pytest.approx(quantiser.entries[0].range[0], abs=2 * latest.scale)


def test_a_message_is_read_by_the_scale_of_its_own_time():
    quantiser = Quantiser()
    narrow, wide = quantiser(VALUES, SECOND), quantiser(10 * VALUES, 3 * SECOND)
    text = _described(quantiser)
    for levels, values, stamp_ns, scale in [
        (narrow, VALUES, SECOND, quantiser.entries[0].scale),
        (narrow, VALUES, 2 * SECOND, quantiser.entries[0].scale),
        (wide, 10 * VALUES, 3 * SECOND, quantiser.entries[1].scale),
    ]:
        restored = decode_features(_message(levels, f"8UC{CHANNELS}", stamp_ns), text).values
        assert np.abs(restored - values).max() <= 0.501 * scale
    with pytest.raises(ImageError, match="no scale for a message of stamp 999999999 ns; take the newest"):
        decode_features(_message(narrow, f"8UC{CHANNELS}", SECOND - 1), text)


def test_time_that_jumps_back_takes_along_what_was_found_later():
    quantiser = Quantiser()
    for factor, stamp_ns in [(1, 5), (10, 9), (1, 6)]:
        quantiser(factor * VALUES, stamp_ns * SECOND)
    assert [entry.from_stamp_ns for entry in quantiser.entries] == [5 * SECOND]
    quantiser(0.1 * VALUES, 0)
    assert [entry.from_stamp_ns for entry in quantiser.entries] == [0]
    assert quantiser.entries[0].scale < 0.01 * 10 * np.ptp(VALUES)


def test_the_description_survives_as_text():
    held = replace(LAYER, quantisation=(Quantisation(3, 0.25, -7), Quantisation(2**62, 1e-9, 300)))
    before_the_first_frame = replace(LAYER, name="deep", image_size=None)
    described = FeatureDescription("small", "rfn_nest", None, (held, before_the_first_frame))
    assert FeatureDescription.from_json(described.to_json()) == described
    layer = json.loads(described.to_json())["layers"][0]
    assert layer["image_size"] == {"height": 26, "width": 36}
    assert "(stride - 1) / 2" in layer["cell_centre"]


def test_layers_are_found_by_name_and_by_topic_and_the_first_one_without():
    assert DESCRIPTION.layer() is DESCRIPTION.layer("fused") is DESCRIPTION.layer("/fused/features")
    assert DESCRIPTION.layer("/f/deep").name == "deep"
    with pytest.raises(ImageError, match="no layer 'deeep'; did you mean 'deep'"):
        DESCRIPTION.layer("deeep")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"encoding": "bgr8"}, "expected feature maps of encoding 32FC5 or 8UC5, got 'bgr8'"),
        ({"encoding": "16UC5"}, "got '16UC5'; is it a message of /fused/features"),
        ({"encoding": "32FC4"}, "expected 5 channels, got 32FC4"),
        ({"data": VALUES.tobytes()[:-4]}, "the data is short"),
        ({"step": 8}, "a row of 9 pixels takes 180 bytes, got step 8"),
        ({"height": 3, "data": VALUES[:3].tobytes()}, "3 x 9 cells of stride 4 do not fit the image of 26 x 36"),
    ],
)
def test_messages_that_are_no_features_or_not_whole_are_refused(changes, text):
    with pytest.raises(ImageError, match=text):
        decode_features(_message(VALUES, f"32FC{CHANNELS}", **changes), DESCRIPTION)


def test_a_size_that_the_stride_does_not_divide_may_be_rounded_either_way():
    odd = replace(LAYER, image_size=(27, 33))
    for rows, columns in [(6, 8), (7, 9)]:
        values = np.zeros((rows, columns, CHANNELS), np.float32)
        described = FeatureDescription("m", "n", None, (odd,))
        assert decode_features(_message(values, f"32FC{CHANNELS}"), described).size == (27, 33)


def _without(name):
    content = json.loads(DESCRIPTION.to_json())
    del content["layers"][0][name]
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected the JSON of a fused/features/description message"),
        ("[1]", "version 1, got version None"),
        (json.dumps({"camera": "left"}), "version 1, got version None"),
        (json.dumps({"version": 2}), "version 1, got version 2"),
        (json.dumps({"version": 1, "layers": []}), "lacks or mistypes a field"),
        (_without("stride"), "lacks or mistypes a field: KeyError.'stride'"),
        (DESCRIPTION.to_json().replace('"stride": 4', '"stride": "4"'), "stride is '4'"),
        (DESCRIPTION.to_json().replace('"channels": 5', '"channels": 0'), "channels is 0"),
    ],
)
def test_a_foreign_description_is_refused(text, said):
    with pytest.raises(ImageError, match=said):
        decode_features(_message(VALUES, f"32FC{CHANNELS}"), text)


def test_a_description_from_before_the_first_frame_says_so():
    early = FeatureDescription("m", "n", None, (replace(LAYER, image_size=None),))
    with pytest.raises(ImageError, match="from before the first frame"):
        decode_features(_message(VALUES, f"32FC{CHANNELS}"), early)
