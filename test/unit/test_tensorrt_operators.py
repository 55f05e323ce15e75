"""What TensorRT can convert: every network's operators against the list of its converters."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from fake_tensorrt import OneFunction

from fusion_ros.engines.export import exported
from fusion_ros.engines.tensorrt_operators import KNOWN_GAPS, operator_list, unsupported_operators
from fusion_ros.networks import NETWORKS, build_network
from fusion_ros.networks.deployed import DEPLOYED_FORMS, deployed

SIZE = (48, 64)
SMALL = {
    "fused_features": {"channels": 4},
    "lrrnet_tracking": {"channels": 4, "hidden": 4, "blocks": 1},
    "matching_register": {
        "radius": 1,
        "describing_width": 8,
        "deciding_width": 8,
        "describing_around_width": 8,
        "describing_afar_width": 8,
        "deciding_around_width": 8,
        "deciding_afar_width": 8,
    },
    "reconet": {"width": 4, "recurrences": 1, "squarings": 2},
    "reconet_fuser": {"width": 4, "recurrences": 1},
    "reconet_fuser_v1": {"width": 4, "recurrences": 1},
    "reconet_micro_register": {"width": 4, "squarings": 2},
    "reconet_unet_register": {"width": 4, "squarings": 2},
    "rfn_tracking": {"channels": 4},
    "rfvif": {"width": 4, "alignment_blocks": 1, "extraction_stages": 1},
}
"""Settings that keep a network's operators and make it small."""


def _choices(name: str) -> list[str]:
    """Return every choice that a network leaves to its settings, but its default."""
    leaves = NETWORKS[name].Settings.describe().values()
    worded = [(leaf, leaf.choices or ()) for leaf in leaves if leaf.type is str]
    return [f"{leaf.name}={value}" for leaf, values in worded for value in values if value != leaf.default]


CASES = [(name, choice) for name in NETWORKS for choice in ("", *_choices(name))]
NAMES = [f"{name}-{choice or 'default'}" for name, choice in CASES]


@pytest.mark.parametrize(("name", "choice"), CASES, ids=NAMES)
def test_tensorrt_has_every_operator_of_every_network_but_known_gaps(name, choice):
    given = dict([choice.split("=")]) if choice else {}
    network = build_network(name, SMALL.get(name, {}) | given)
    missing = unsupported_operators(exported(network, size=SIZE))
    assert bool(missing) == ((name, choice) in KNOWN_GAPS), missing


@pytest.mark.parametrize("network", [*DEPLOYED_FORMS])
def test_tensorrt_has_every_operator_of_the_forms_that_run_on_a_robot(network):
    images = (torch.zeros(1, 1, *SIZE), torch.zeros(1, 1, *SIZE))
    form = deployed(network().eval(), *SIZE, cache_bytes=None)
    assert unsupported_operators(torch.export.export(form, images)) == []


# What torch_tensorrt 2.13.0's own lowering and converter registry say of each.
SUPPORTED = {
    "standard deviation": lambda a, b: a.std() + b,
    "instance norm": lambda a, b: F.instance_norm(a) + b,
    "largest values": lambda a, b: a.max(1)[0] + b,
    "max pooling": lambda a, b: F.max_pool2d(a, 2) + F.max_pool2d(b, 2),
    "resizing": lambda a, b: F.interpolate(a, scale_factor=2, mode="bilinear") + F.interpolate(b, scale_factor=2),
    "sampling": lambda a, b: F.grid_sample(a, torch.cat([b, b], 1).permute(0, 2, 3, 1), align_corners=True),
    "unfolding": lambda a, b: F.unfold(a, 3).sum() + b,
    "selecting where": lambda a, b: a[:, 0, b[0, 0, :, 0].gt(0)].sum(),
}
UNSUPPORTED = {
    "aten._linalg_svd.default: no converter": lambda a, b: torch.linalg.svdvals(a[:, 0]).sum() + b,
    "aten.erfinv.default: no converter": lambda a, b: torch.erfinv(a) + b,
    "aten._fft_r2c.default: no converter": lambda a, b: torch.fft.rfft2(a).abs().sum() + b,
    "aten.median.default: no converter": lambda a, b: a.median() + b,
    "aten.max.dim: only the first": lambda a, b: a.max(1)[1] + b,
    "aten.max_pool2d.default: no dilation": lambda a, b: F.max_pool2d(a, 3, ceil_mode=True).sum() + b,
    "aten.avg_pool2d.default: no ceil_mode": lambda a, b: F.avg_pool2d(a, 3, ceil_mode=True).sum() + b,
    "aten._to_copy.default: to float32": lambda a, b: (a.double() + b.double()).float(),
}


@pytest.mark.parametrize("function", SUPPORTED.values(), ids=SUPPORTED)
def test_what_torch_tensorrt_converts_is_known(function):
    assert unsupported_operators(exported(OneFunction(function), size=SIZE)) == []


@pytest.mark.parametrize(("line", "function"), UNSUPPORTED.items(), ids=UNSUPPORTED)
def test_what_torch_tensorrt_does_not_convert_is_named_with_the_reason(line, function):
    (found,) = unsupported_operators(exported(OneFunction(function), size=SIZE))
    assert found.startswith(line)


def test_every_operator_in_the_list_exists_in_pytorch():
    listed = operator_list()
    for name in listed.converted | listed.replaced | listed.static_only | set(listed.conditions):
        space, _, rest = name.partition(".")
        if rest:
            operator, _, overload = rest.partition(".")
            packet = getattr(getattr(torch.ops, space), operator)
            assert not overload or overload in packet.overloads(), name
