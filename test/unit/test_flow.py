"""Re-sampling and integration against exact shifts, OpenCV, and the flow of a rotation."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from fusion_ros.networks.flow import integrate, warp


def constant(x: float, y: float, height: int, width: int) -> torch.Tensor:
    return torch.tensor([x, y]).reshape(1, 2, 1, 1).expand(1, 2, height, width)


def positions(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y]).float()[None]


def smooth_field(amplitude: float, height: int, width: int) -> torch.Tensor:
    """Waves of 40 pixels' length, zero at the border."""
    x, y = positions(height, width)[0]
    fade = torch.sin(math.pi * x / (width - 1)) * torch.sin(math.pi * y / (height - 1))
    waves = torch.stack([torch.sin(2 * math.pi * y / 40), torch.cos(2 * math.pi * (x + y) / 40)])
    return (amplitude * fade * waves)[None]


def test_a_flow_of_whole_pixels_shows_what_lies_there_and_zeros_outside():
    image = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(0)) + 1
    moved = warp(image, constant(3, -2, 7, 9).expand(2, 2, 7, 9))
    expected = torch.zeros_like(image)
    expected[:, :, 2:, :-3] = image[:, :, :-2, 3:]  # 3 further right, 2 further up
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)


def test_the_nearest_pixel_continues_the_image_where_that_is_asked_for():
    image = torch.rand(1, 1, 7, 9, generator=torch.Generator().manual_seed(0)) + 1
    moved = warp(image, constant(4, 0, 7, 9), border="replicate")
    assert torch.equal(moved[..., 5:], image[..., -1:].expand(1, 1, 7, 4))


def test_parts_of_a_pixel_are_exact_on_a_ramp():
    x, y = positions(20, 30).split(1, dim=1)
    ramp = 2 * x - 3 * y
    moved = warp(ramp, constant(0.25, -0.5, 20, 30))
    inside = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(moved[inside], (ramp + 2 * 0.25 + 3 * 0.5)[inside], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("border", "of_opencv"), [("zeros", cv2.BORDER_CONSTANT), ("replicate", cv2.BORDER_REPLICATE)]
)
def test_any_flow_gives_what_opencv_gives(border, of_opencv):
    generator = np.random.default_rng(1)
    image = cv2.GaussianBlur(generator.random((41, 57), np.float32), (0, 0), 2)
    flow = generator.normal(0, 12, (2, 41, 57)).astype(np.float32)
    x, y = positions(41, 57)[0].numpy() + flow
    expected = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=of_opencv)
    moved = warp(torch.from_numpy(image)[None, None], torch.from_numpy(flow)[None], border)[0, 0].numpy()
    # Up to version 4 OpenCV rounds positions to 1/32 pixel; at the border of zeros that is 1/64 of the values.
    tolerance = 1e-4 if cv2.__version__ >= "5" else image.max() / 32
    np.testing.assert_allclose(moved, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_positions_far_from_the_corner_are_exact_in_short_types_too(dtype):
    image = torch.rand(1, 1, 2, 1280, generator=torch.Generator().manual_seed(0)).to(dtype)
    moved = warp(image, constant(1, 0, 2, 1280).to(dtype))
    assert moved.dtype == dtype
    torch.testing.assert_close(moved[..., :-1], image[..., 1:], atol=2e-3, rtol=0)


def test_the_gradient_of_the_flow_is_the_slope_of_the_image():
    x, _ = positions(12, 14).split(1, dim=1)
    flow = constant(0.3, 0.3, 12, 14).clone().requires_grad_()
    warp(5 * x, flow)[..., 1:-1, 1:-1].sum().backward()
    inside = flow.grad[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside[:, 0], torch.full_like(inside[:, 0], 5.0), atol=1e-3, rtol=0)
    assert inside[:, 1].abs().max() < 1e-3


def test_a_constant_velocity_is_its_own_flow_where_nothing_comes_in_from_outside():
    velocity = constant(4, -2.5, 40, 50)
    flow = integrate(velocity)
    inside = (..., slice(10, None), slice(None, -12))  # the velocity, and some pixels that interpolation mixes in
    torch.testing.assert_close(flow[inside], velocity[inside], atol=1e-4, rtol=0)
    assert flow[..., -1].abs().max() < 4  # beyond the border nothing moves


def test_a_turning_velocity_turns_by_the_angle():
    angle = 0.2
    centre = torch.tensor([31.5, 31.5]).reshape(1, 2, 1, 1)
    offset = positions(64, 64) - centre
    velocity = angle * torch.cat([-offset[:, 1:], offset[:, :1]], dim=1)
    cosine, sine = math.cos(angle), math.sin(angle)
    turned = torch.cat(
        [cosine * offset[:, :1] - sine * offset[:, 1:], sine * offset[:, :1] + cosine * offset[:, 1:]], dim=1
    )
    inside = (..., slice(12, -12), slice(12, -12))
    error = (integrate(velocity) - (turned - offset))[inside].abs().max()
    assert error < 0.01  # pixels; the first of 128 steps is straight
    assert (velocity - (turned - offset))[inside].abs().max() > 0.3  # not integrated, it misses by this


def test_the_flow_of_the_opposite_velocity_leads_back():
    velocity = smooth_field(4.0, 80, 96)
    there, back = integrate(velocity), integrate(-velocity)
    assert there.abs().max() > 3
    round_trip = there + warp(back, there)
    assert round_trip.abs().max() < 0.1  # pixels, of flows of 3 and more
    assert (velocity + warp(-velocity, velocity)).abs().max() > 1  # as displacements they do not cancel


def test_no_squaring_is_no_integration():
    velocity = smooth_field(4.0, 20, 24)
    assert torch.equal(integrate(velocity, 0), velocity)
