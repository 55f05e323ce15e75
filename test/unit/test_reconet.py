"""ReCoNet's fuser against what the authors' network gave on stored crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_ros.errors import SettingsError
from fusion_ros.networks import NETWORKS, ReCoNetFuser, build_network
from fusion_ros.weights import load_upstream

CROPS = ("odd_tno_05", "roadscene_FLIR_04602", "roadscene_FLIR_05005", "tno_01", "tno_05", "tno_16", "tno_30")


@pytest.fixture(scope="module")
def authors(shared):
    return load_upstream(ReCoNetFuser(), shared / "weights" / "upstream" / "reconet.safetensors")


def _reference(shared, crop):
    with np.load(shared / "reference" / "reconet" / f"{crop}.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def _sources(reference):
    return torch.from_numpy(reference["ir_in"]), torch.from_numpy(reference["vis_in"])


@pytest.mark.parametrize("crop", CROPS)
@torch.no_grad()
def test_output_equals_the_authors_network(shared, authors, crop):
    reference = _reference(shared, crop)
    fused = authors(*_sources(reference)).numpy()
    np.testing.assert_allclose(fused, reference["out"], atol=1e-5, rtol=0)
    levels = np.rint(fused[0, 0].clip(0, 1) * 255)
    assert np.abs(levels - reference["out_u8"]).max() <= 1


@torch.no_grad()
def test_every_recurrence_equals_the_authors_network(shared, authors):
    reference = _reference(shared, "odd_tno_05")
    infrared, visible = _sources(reference)
    np.testing.assert_array_equal(torch.maximum(infrared, visible).numpy(), reference["f0"])
    steps = authors.unroll(infrared, visible)
    assert len(steps) == 3
    for number, step in enumerate(steps, start=1):
        expected = (f"f{number}", f"att_ir_{number}", f"att_vis_{number}")
        for tensor, name in zip(step, expected, strict=True):
            np.testing.assert_allclose(tensor.numpy(), reference[name], atol=1e-5, rtol=0, err_msg=name)


def test_it_has_the_papers_number_of_parameters():
    assert sum(parameter.numel() for parameter in ReCoNetFuser().parameters()) == 7527


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 64)])
def test_any_size_is_kept_and_values_stay_inside_the_range_of_tanh(size):
    torch.manual_seed(0)
    fused = ReCoNetFuser().eval()(torch.rand(1, 1, *size), torch.rand(1, 1, *size))
    assert fused.shape == (1, 1, *size)
    assert fused.abs().max() < 1


@torch.no_grad()
def test_a_batch_gives_what_its_images_give_singly(shared, authors):
    pairs = [_sources(_reference(shared, crop)) for crop in ("tno_01", "tno_05")]
    batch = authors(torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs]))
    singles = torch.cat([authors(*pair) for pair in pairs])
    torch.testing.assert_close(batch, singles, atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_order_of_the_sources_matters(shared, authors):
    infrared, visible = _sources(_reference(shared, "tno_01"))
    difference = (authors(infrared, visible) - authors(visible, infrared)).abs().mean()
    assert difference > 0.01  # a caller who swaps them gets another image


def test_a_network_is_built_by_the_name_on_its_card():
    assert isinstance(build_network("reconet_fuser"), ReCoNetFuser)
    assert "reconet_fuser" in NETWORKS
    with pytest.raises(SettingsError, match="did you mean 'reconet_fuser'"):
        build_network("reconet_fusr")
