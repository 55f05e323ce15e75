"""Messages: what is written is what was meant, and cv_bridge is asked only for what we do not know."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image

from fusion_ros.errors import CalibrationError, ImageError, SettingsError
from fusion_ros.ros import bridge, messages


@pytest.mark.parametrize("stamp", [0, 1, 999_999_999, 1_700_000_000_123_456_789])
def test_a_stamp_survives_the_way_there_and_back(stamp):
    assert messages.stamp_ns(messages.time_message(stamp)) == stamp


def test_an_image_message_holds_the_pixels_in_wire_order():
    rgb = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    message = messages.image_message(rgb, "bgr8", messages.header(5, "cam"))
    assert (message.height, message.width, message.step) == (2, 3, 9)
    assert bytes(message.data) == rgb[..., ::-1].tobytes()
    assert messages.stamp_ns(message.header.stamp) == 5


def test_a_camera_info_without_a_calibration_is_refused():
    with pytest.raises(CalibrationError):
        messages.camera_info_message(CameraInfo(height=48, width=64), (24, 32), messages.header(0, "cam"))


@pytest.mark.parametrize("name", ["sensor_msgs/msg/Imag", "nowhere_msgs/msg/Image", "nonsense"])
def test_a_message_type_that_is_not_there_is_named(name):
    with pytest.raises(SettingsError, match=name):
        messages.message_class(name)


def test_which_types_begin_with_a_header():
    assert messages.begins_with_header(Image)
    assert not messages.begins_with_header(messages.message_class("std_msgs/msg/String"))


@pytest.fixture
def driver_message():
    message = Image(height=2, width=2, encoding="acme14", step=4, header=messages.header(7, "thermal"))
    message.data.frombytes(np.array([[1, 2], [3, 4]], np.uint16).tobytes())
    return message


@pytest.fixture
def forget_bridge():
    bridge._bridge.cache_clear()
    yield
    bridge._bridge.cache_clear()


def test_an_unknown_encoding_is_refused_where_cv_bridge_is_absent(driver_message, forget_bridge, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    with pytest.raises(ImageError, match="acme14"):
        messages.check(driver_message)


def test_cv_bridge_is_asked_for_what_we_do_not_know_and_only_for_that(driver_message, forget_bridge, monkeypatch):
    asked = []

    class Bridge:
        def imgmsg_to_cv2(self, message, desired):
            asked.append((message.encoding, desired))
            return np.frombuffer(message.data, np.uint16).reshape(2, 2)

    monkeypatch.setitem(sys.modules, "cv_bridge", SimpleNamespace(CvBridge=Bridge, CvBridgeError=RuntimeError))
    messages.check(driver_message)
    frame = messages.decode(driver_message)
    assert frame.pixels.tolist() == [[1, 2], [3, 4]]
    assert (frame.stamp_ns, frame.frame_id, frame.encoding) == (7, "thermal", "16UC1")
    assert asked == [("acme14", "passthrough")]
    driver_message.encoding = "mono16"
    messages.decode(driver_message)
    assert len(asked) == 1


def test_what_cv_bridge_does_not_know_either_is_said(driver_message, forget_bridge, monkeypatch):
    class Bridge:
        def imgmsg_to_cv2(self, message, desired):
            raise RuntimeError("Unrecognized image encoding [acme14]")

    monkeypatch.setitem(sys.modules, "cv_bridge", SimpleNamespace(CvBridge=Bridge, CvBridgeError=RuntimeError))
    with pytest.raises(ImageError, match="neither to fusion_ros nor to cv_bridge"):
        messages.decode(driver_message)


def test_a_stereo_projection_is_scaled_with_its_baseline():
    info = CameraInfo(height=480, width=640, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [500.0, 0, 320, 0, 500, 240, 0, 0, 1]
    info.p = [430.0, 0, 315, -43, 0, 430, 238, 0, 0, 0, 1, 0]
    same = messages.camera_info_message(info, (480, 640), messages.header(0, "cam"))
    np.testing.assert_allclose(same.p, info.p)
    half = messages.camera_info_message(info, (240, 320), messages.header(0, "cam"))
    # cx' = (cx + 0.5) / 2 - 0.5; focal length and baseline term halve.
    np.testing.assert_allclose(half.p, [215, 0, 157.25, -21.5, 0, 215, 118.75, 0, 0, 0, 1, 0])
