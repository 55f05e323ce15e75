"""Losses under autocast: the network may compute in half precision, what judges it does not."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
import torch

from fusion_ros.networks.didfuse import Encoded
from training import losses
from training.losses import detail, matching, reconet, rfvif
from training.losses.didfuse import didfuse_loss
from training.losses.lrrnet import gram_matrix, lrrnet_loss
from training.losses.lrrnet_tracking import lrrnet_tracking_loss
from training.losses.ms_ssim import ms_ssim
from training.losses.perceptual import StructureFeatures
from training.losses.reconet_registration import edge_registration_loss
from training.losses.rfn_nest import auto_encoder_loss, rfn_loss
from training.losses.rfn_tracking import rfn_tracking_loss
from training.losses.ssim import ssim
from training.losses.tracking import filter_response, tracking_loss
from training.precision import full_precision

pytestmark = pytest.mark.usefixtures("one_thread")

HALVES = [torch.bfloat16, torch.float16]


def _encoded(maps):
    return Encoded(*(maps[:, n : n + 1] for n in range(len(Encoded._fields))))


def _tracked(fused, x, y, maps):
    return tracking_loss(filter_response(fused[0], maps[0]), torch.tensor([[1.0, -2.0], [0.0, 3.0]]))


# Each is given u, x, y, images with a flat bright sky, and u_, x_, y_, maps of eight channels of three levels.
LOSSES = {
    "own gradient": lambda u, x, y, *_: detail.gradient_loss(u, x, y),
    "own intensity": lambda u, x, y, *_: detail.intensity_loss(u, x, y),
    "own contrast": lambda u, x, y, *_: detail.contrast_loss(u, x, y),
    "own correlation": lambda u, x, y, *_: detail.correlation_loss(u, x, y),
    "SSIM": lambda u, x, y, *_: ssim(u, x),
    "MS-SSIM": lambda u, x, y, *_: ms_ssim(*(image.repeat(1, 1, 4, 4) for image in (u, x))),
    "DIDFuse": lambda u, x, y, u_, x_, y_: didfuse_loss(x, y, (_encoded(x_[0]), _encoded(y_[0])), (u, u)),
    "LRRNet": lambda u, x, y, *_: lrrnet_loss(u, x, y, StructureFeatures(255.0)),
    "LRRNet, tracking": lambda u, x, y, *maps: lrrnet_tracking_loss(*maps),
    "ReCoNet, fusion": lambda u, x, y, *_: reconet.fusion_loss(u, x, y),
    "ReCoNet, registration": lambda u, x, y, u_, x_, y_: reconet.registration_loss(9 * u_[0][:, :2], x_[0][:, :2]),
    "ReCo+, registration": lambda u, x, y, u_, x_, y_: edge_registration_loss(
        9 * u_[0][:, :2], x_[0][:, :2], u, x, edge_weight=1, position_weight=1, smoothness_weight=1
    ),
    "register, distance": lambda u, x, y, u_, x_, y_: matching.endpoint_loss(
        9 * u_[0][:, :2], x_[0][:, :2], torch.ones_like(x)
    ),
    "register, recognition": lambda u, x, y, u_, x_, y_: matching.displacement_loss(
        9 * torch.cat([u_[0], u], 1), x_[0][:, :2], torch.ones_like(x)
    ),
    "RFN-Nest, auto-encoder": lambda u, x, y, *_: auto_encoder_loss(255 * u, 255 * x, similarity="ssim"),
    "RFN-Nest, fusion": lambda u, x, y, *maps: rfn_loss(
        255 * u, 255 * y, *maps, scale_weights=(1.0, 10.0, 100.0), similarity="ssim"
    ),
    "RFN-Nest, tracking": lambda u, x, y, *maps: rfn_tracking_loss(*maps),
    "RFVIF": lambda u, x, y, *_: rfvif.rfvif_loss(u, rfvif.RFVIF.scaled(u), y, x, StructureFeatures()),
    "tracking": lambda u, x, y, u_, x_, y_: _tracked(u_, x, y, x_),
}


def _inputs(dtype):
    generator = torch.Generator().manual_seed(0)
    images = 0.4 + 0.3 * torch.rand(3, 2, 1, 48, 48, generator=generator)
    images[..., :20, :] = 0.9 + 0.004 * torch.rand(3, 2, 1, 20, 48, generator=generator)
    levels = [torch.rand(3, 2, 8, side, side, generator=generator) for side in (48, 24, 12)]
    maps = zip(*(level.to(dtype) for level in levels), strict=True)
    return *images.to(dtype), *(list(of_one) for of_one in maps)


def _values(loss):
    return torch.stack([*loss] if isinstance(loss, tuple) else [loss])


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("half", HALVES, ids=["bfloat16", "float16"])
def test_every_term_has_the_value_under_autocast_that_it_has_without(loss, half):
    inputs = _inputs(torch.float32)
    with torch.autocast("cpu", half):
        found = _values(loss(*inputs))
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, _values(loss(*inputs)), rtol=1e-4, atol=1e-7)


def test_structural_similarity_of_what_a_network_gives_in_half_precision_is_that_of_the_same_values_in_full():
    u, x, *_ = _inputs(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        found = ssim(u, x)
    torch.testing.assert_close(found, ssim(u.float(), x.float()), rtol=1e-6, atol=0)


def test_the_gram_matrix_of_values_up_to_255_is_finite_in_float16():
    maps = torch.full((1, 9, 16, 16), 255.0, dtype=torch.float16)
    with torch.autocast("cpu", torch.float16):
        gram = gram_matrix(maps)
    torch.testing.assert_close(gram, torch.full((1, 9, 9), 255.0**2 / 9))


def test_full_precision_reaches_into_tuples_leaves_double_alone_and_passes_the_gradient():
    half, double = torch.ones(2, dtype=torch.bfloat16, requires_grad=True), torch.ones(2, dtype=torch.float64)
    seen = full_precision(lambda encoded, *, more: (encoded, more, torch.is_autocast_enabled("cpu")))
    with torch.autocast("cpu", torch.bfloat16):
        encoded, more, autocast = seen(Encoded(half, half, half, half), more=[double, "text"])
    assert isinstance(encoded, Encoded) and not autocast
    assert {part.dtype for part in encoded} == {torch.float32}
    assert more[0] is double and more[1] == "text"
    encoded[0].sum().backward()
    assert half.grad.tolist() == [1, 1]


def _public_losses():
    for module in pkgutil.iter_modules(losses.__path__):
        names = vars(importlib.import_module(f"{losses.__name__}.{module.name}"))
        for name in names.get("__all__", ()):
            if inspect.isfunction(names[name]) and names[name].__module__.startswith(losses.__name__):
                yield f"{module.name}.{name}", names[name]


def test_no_function_of_tensors_among_the_losses_forgets_it():
    """Whoever writes a new loss is told."""
    of_tensors = {
        name: function
        for name, function in _public_losses()
        if any("Tensor" in str(kind) for kind in function.__annotations__.values())
    }
    assert len(of_tensors) > 15
    assert [name for name, function in of_tensors.items() if not hasattr(function, "__wrapped__")] == []
