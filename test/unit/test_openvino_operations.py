"""Each operation that the OpenVINO engine knows gives what PyTorch gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytest.importorskip("openvino", reason="openvino is not installed")

from fusion_ros.engines.openvino_graph import openvino_graph
from fusion_ros.engines.openvino_runtime import core
from fusion_ros.errors import EngineError

torch.manual_seed(0)
GRID = torch.rand(1, 5, 6, 2) * 2.4 - 1.2  # beyond the image on every side
KERNEL = torch.randn(6, 4, 3, 3)
DEPTHWISE = torch.randn(8, 1, 3, 3)


class Applied(nn.Module):
    """A function of two inputs ``(1, 4, 7, 9)``, as a network; tensors that it uses are its buffers."""

    def __init__(self, function, *modules, **tensors):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def forward(self, a, b):
        return self.function(self, a, b)


def layer(module):
    return Applied(lambda self, a, b: self.parts[0](a), module)


def function(call, **tensors):
    return Applied(lambda self, a, b: call(self, a, b), **tensors)


def _normalised():
    norm = nn.BatchNorm2d(4)
    nn.init.uniform_(norm.running_mean, -1, 1)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.uniform_(norm.bias, -1, 1)
    return norm


CASES = {
    "conv, reflected": layer(nn.Conv2d(4, 3, 5, padding=2, padding_mode="reflect")),
    "conv, replicated": layer(nn.Conv2d(4, 3, 3, padding=1, padding_mode="replicate")),
    "conv, same": layer(nn.Conv2d(4, 3, 3, padding="same", dilation=2)),
    "conv, strided": layer(nn.Conv2d(4, 3, 3, stride=2, padding=1, bias=False)),
    "conv, grouped": layer(nn.Conv2d(4, 8, 3, groups=2)),
    "batch norm": layer(_normalised()),
    "prelu, one slope": layer(nn.PReLU()),
    "prelu, a slope a channel": layer(nn.PReLU(4)),
    "leaky relu": layer(nn.LeakyReLU(0.1)),
    "gelu": layer(nn.GELU()),
    "gelu, tanh": layer(nn.GELU(approximate="tanh")),
    "relu": layer(nn.ReLU()),
    "sigmoid, tanh": layer(nn.Sequential(nn.Sigmoid(), nn.Tanh(), nn.Identity())),
    "max pool": layer(nn.MaxPool2d(2)),
    "max pool, up": layer(nn.MaxPool2d(2, ceil_mode=True)),
    "max pool, padded": layer(nn.MaxPool2d(3, stride=1, padding=1)),
    "max pool, as a function": function(lambda _, a, b: F.max_pool2d(a - b, 3, stride=1, padding=1)),
    "global average, linear": Applied(
        lambda self, a, b: self.parts[1](self.parts[0](a).flatten(1)), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 5)
    ),
    "upsample, nearest": layer(nn.Upsample(scale_factor=2)),
    "upsample, bilinear": layer(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)),
    "average pool": function(lambda _, a, b: F.avg_pool2d(a, 3, stride=1, padding=1)),
    "average pool, own count": function(
        lambda _, a, b: F.avg_pool2d(a, 3, stride=1, padding=1, count_include_pad=False)
    ),
    "dynamic convolution": function(lambda self, a, b: F.conv2d(a, self.kernel, padding=1), kernel=KERNEL),
    "dynamic depthwise kernels": function(
        lambda self, a, b: F.conv2d(torch.cat([a, b], 1), self.kernel * a.mean() + b.amax(), padding=1, groups=8),
        kernel=DEPTHWISE,
    ),
    "resize to a size": function(
        lambda _, a, b: F.interpolate(a, size=(a.shape[-2] * 2 + 1, 5), mode="bilinear", align_corners=False)
    ),
    "resize, corners aligned": function(
        lambda _, a, b: F.interpolate(a, size=(13, 4), mode="bilinear", align_corners=True)
    ),
    "resize to the nearest": function(lambda _, a, b: F.interpolate(a, size=(15, 20))),
    "shrink by a factor": function(lambda _, a, b: F.interpolate(a, scale_factor=0.5, mode="bilinear")),
    "pad, constant": function(lambda _, a, b: F.pad(a, (1, 2, 3, 0), value=2.5)),
    "pad, reflected by arithmetic": function(
        lambda _, a, b: F.pad(a, (0, (-a.shape[-1]) % 4, 0, (-a.shape[-2]) % 4), mode="reflect")
    ),
    "pad by nothing": function(lambda _, a, b: F.pad(a, (0, a.shape[-1] - 9, 0, 0), mode="replicate") + b),
    "sample, zeros": function(
        lambda self, a, b: F.grid_sample(a, self.grid, padding_mode="zeros", align_corners=True), grid=GRID
    ),
    "sample, border": function(
        lambda self, a, b: F.grid_sample(a, self.grid, padding_mode="border", align_corners=False), grid=GRID
    ),
    "arithmetic": function(lambda _, a, b: (2 - a) * b / (b.abs() + 1.5) - (-a) + 3.0),
    "floor division": function(lambda _, a, b: (a * 7) // 2 + b),
    "clamp": function(lambda _, a, b: torch.clamp(a, -0.3, 0.4) + b.clamp(min=0.1) + a.clamp(max=0.2)),
    "soft threshold": function(lambda _, a, b: torch.sign(a) * torch.relu(torch.abs(a) - 0.3)),
    "reductions": function(
        lambda _, a, b: a.amax(1, keepdim=True) - b.amin(dim=(2, 3), keepdim=True) + a.sum() + b.mean((0, 2), True)
    ),
    "roots and powers": function(lambda _, a, b: torch.sqrt(a.abs() + 1) * torch.exp(b * 0.1)),
    "softmax": function(lambda _, a, b: torch.softmax(a, dim=1) + F.softmax(b, dim=-1)),
    "choice": function(lambda _, a, b: torch.minimum(a, b) * 2 + torch.maximum(a, b * 0.5)),
    "stack and reduce": function(lambda _, a, b: torch.stack([a, b, a * b], dim=1).amax(1)),
    "split": function(lambda _, a, b: torch.cat([a.chunk(2, 1)[1], torch.split(b, [1, 3], dim=1)[0]], 1)),
    "reshape": function(lambda _, a, b: a.reshape(a.shape[0], 2, -1).permute(0, 2, 1).transpose(1, 2)),
    "unflatten": function(lambda _, a, b: (a.unflatten(1, (2, -1)) + b.unflatten(-3, (2, 2))).flatten(1, 2)),
    "blocks": function(
        lambda _, a, b: F.pixel_shuffle(a, 2)[..., :8] + F.pixel_unshuffle(b[..., :8], 1)[:, :1, 0:1]
    ),
    "blocks in channels": function(lambda _, a, b: F.pixel_unshuffle(a[:, :, 1:, :8], 2) * b[:, :1, 1:4, 2:6]),
    "matrix product": function(lambda _, a, b: a @ b.transpose(-1, -2)),
    "slices": function(lambda _, a, b: a[:, 1:3, ::2, -4:] + b[..., :4, 2:6][:, :2]),
    "picked": function(lambda _, a, b: a[:, 2] - b[:, -1]),
    "new axes": function(lambda _, a, b: a[:, 0, None] * b.unsqueeze(1)[:, :, 1]),
    "expanded": function(lambda _, a, b: a[:, :1].expand(-1, 4, -1, -1) - b),
    "positions": function(
        lambda _, a, b: a + torch.arange(a.shape[-1], device=a.device, dtype=a.dtype).reshape(1, 1, 1, -1)
    ),
}


def _run(network, *images):
    graph = openvino_graph(network, *(tuple(image.shape) for image in images))
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core().compile_model(graph, "CPU", options)
    return torch.from_numpy(compiled([image.numpy() for image in images])[0])


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_an_operation_gives_what_pytorch_gives(name):
    network = CASES[name].eval()
    images = torch.randn(2, 1, 4, 7, 9, generator=torch.Generator().manual_seed(1)).unbind()
    torch.testing.assert_close(_run(network, *images), network(*images), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (function(lambda _, a, b: torch.linalg.svdvals(a + b)), "function linalg_svdvals is not known"),
        (function(lambda _, a, b: (a + b).cumsum(1)), "tensor method cumsum is not known"),
        (function(lambda _, a, b: torch.add(a, b, alpha=2)), "function add with these arguments"),
        (layer(nn.Conv2d(4, 4, 2, padding="same")), "of an even size with padding 'same'"),
        (layer(nn.InstanceNorm2d(4)), "module InstanceNorm2d is not known"),
        (function(lambda _, a, b: a[b > 0]), "is not known"),
        (function(lambda _, a, b: F.pad(a, (1, 1, 1, 1), mode="circular")), "padding of mode 'circular'"),
        (function(lambda _, a, b: F.interpolate(a, scale_factor=2, mode="bicubic")), "resizing of mode 'bicubic'"),
        (
            function(lambda _, a, b: F.max_pool2d(a, 2, return_indices=True)[0]),
            "max_pool2d_with_indices is not known",
        ),
        (function(lambda _, a, b: a if a.sum() > 0 else b), "depends on its inputs"),
    ],
)
def test_what_is_not_known_is_refused_by_name(network, message):
    with pytest.raises(EngineError, match=message):
        openvino_graph(network, (1, 4, 7, 9), (1, 4, 7, 9))
