"""The authors' checkpoints: every released format is read, and nothing but tensors is loaded."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fusion_ros.checkpoint_files import read_checkpoint
from fusion_ros.checkpoints import adapt, fingerprint, upstream_names
from fusion_ros.errors import WeightsError
from fusion_ros.networks import NETWORKS, build_network
from fusion_ros.releases import RELEASES

IMPORTABLE = sorted(name for name, network in NETWORKS.items() if network.UPSTREAM_PREFIXES)


class Intruder:
    """Writes a file when it is unpickled freely."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def reconet_tensors(shared: Path) -> dict[str, torch.Tensor]:
    return load_file(shared / "weights" / "upstream" / "reconet.safetensors")


def synthetic(names: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Return the weights with which the references of networks without released weights were computed."""
    tensors = {}
    for name, shape in names.items():
        normal = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.01
        tensors[name] = torch.from_numpy((normal * scale).astype(np.float32))
    return tensors


def upstream_shapes(network: str, **settings) -> dict[str, tuple[int, ...]]:
    built = build_network(network, settings)
    names = upstream_names(built)
    return {names[own]: tuple(tensor.shape) for own, tensor in built.state_dict().items()}


def output_of(
    network: torch.nn.Module, reference: Path, first: str = "ir_in", second: str = "vis_in"
) -> np.ndarray:
    arrays = np.load(reference)
    with torch.no_grad():
        return network(torch.from_numpy(arrays[first]), torch.from_numpy(arrays[second])).numpy()


# --- Released formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "reference", "key"),
    [
        ("reconet_fuser", "reconet/odd_tno_05", "out"),
        ("lrrnet", "lrrnet/odd_tno_05", "out"),
        ("didfuse", "didfuse/odd_tno_05", "out_sum"),
    ],
)
def test_a_released_fuser_gives_its_authors_outputs(authors_files, shared, network, reference, key):
    adapted = adapt(network, authors_files(network))
    path = shared / "reference" / f"{reference}.npz"
    assert np.abs(output_of(adapted.network, path) - np.load(path)[key]).max() < 1e-5
    assert adapted.is_release
    assert not adapted.network.training


@pytest.mark.parametrize("kind", ["micro", "unet"])
def test_a_released_register_gives_its_authors_flow(authors_files, shared, kind):
    adapted = adapt(f"reconet_{kind}_register", authors_files(f"reconet_{kind}_register"))
    path = shared / "reference" / f"reconet_{kind[0]}register" / "digits_7_shifted.npz"
    expected = np.load(path)["flow_int"].transpose(0, 3, 1, 2)
    got = output_of(adapted.network, path, "moving", "fixed")
    assert np.abs(got - expected).max() < 1e-4  # pixels, of flows that are several long
    assert adapted.settings["inputs"] == 2
    assert adapted.is_release


def test_the_two_files_of_rfn_nest_are_joined(shared, tmp_path):
    tensors = synthetic(upstream_shapes("rfn_nest"))
    encoder = {name: tensor for name, tensor in tensors.items() if not name.startswith("fusion_block")}
    assert len(encoder) == 44
    assert len(tensors) == 92
    torch.save(encoder, tmp_path / "nestfuse.model")
    torch.save({name: tensors[name] for name in tensors.keys() - encoder.keys()}, tmp_path / "rfn.model")
    adapted = adapt("rfn_nest", [tmp_path / "rfn.model", tmp_path / "nestfuse.model"])
    path = shared / "reference" / "rfn_nest" / "syn_75x93.npz"
    expected = np.load(path)["out"]
    assert np.abs(output_of(adapted.network, path) - expected).max() < 1e-4 * np.abs(expected).max()
    assert adapted.is_release is None  # the released tensors were never seen
    with pytest.raises(WeightsError, match=r"the residual fusion network of rfn_nest is missing.*Final_epoch_2"):
        adapt("rfn_nest", [tmp_path / "nestfuse.model"])


def test_a_fuser_is_taken_out_of_a_file_that_also_holds_a_register(shared, tmp_path):
    fuser = synthetic(upstream_shapes("reconet_fuser_v1"))
    register = synthetic(upstream_shapes("reconet_micro_register", inputs=4))
    joint = {f"fuser.{name}": tensor for name, tensor in fuser.items()}
    joint |= {f"register.{name}": tensor for name, tensor in register.items()}
    torch.save({"state_dict": joint}, tmp_path / "reco.ckpt")
    adapted = adapt("reconet_fuser_v1", [tmp_path / "reco.ckpt"])
    path = shared / "reference" / "reconet_v1" / "fuser_dim32_syn.npz"
    assert np.abs(output_of(adapted.network, path) - np.load(path)["out"]).max() < 1e-5
    four = adapt("reconet_micro_register", [tmp_path / "reco.ckpt"])
    assert four.settings["inputs"] == 4
    assert not four.is_release


@pytest.mark.parametrize("form", ["zip", "legacy", "lightning", "parallel", "nested", "safetensors", "half"])
def test_every_format_gives_the_same_network(shared, tmp_path, form):
    tensors = reconet_tensors(shared)
    path = tmp_path / ("copy.safetensors" if form == "safetensors" else "params.pth")
    if form == "safetensors":
        save_file(tensors, path)
    elif form == "legacy":
        torch.save(OrderedDict(tensors), path, _use_new_zipfile_serialization=False)
    elif form == "half":
        torch.save({name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}, path)
    else:
        renamed = {name if form == "zip" else f"module.{name}": tensor for name, tensor in tensors.items()}
        torch.save({"lightning": {"state_dict": renamed}, "nested": {"model": renamed}}.get(form, renamed), path)
    network = adapt("reconet_fuser", [path]).network
    names = upstream_names(network)
    tolerance = 1e-3 if form == "half" else 0.0
    for own, tensor in network.state_dict().items():
        assert torch.allclose(tensor, tensors[names[own]], rtol=tolerance, atol=tolerance), own


def test_a_joined_copy_of_didfuse_is_read_as_well(authors_files, shared):
    joined = adapt("didfuse", [shared / "weights" / "upstream" / "didfuse.safetensors"])
    apart = adapt("didfuse", authors_files("didfuse")[::-1])
    for name, tensor in joined.network.state_dict().items():
        assert torch.equal(tensor, apart.network.state_dict()[name]), name


def test_the_shapes_tell_the_settings(tmp_path):
    torch.save(synthetic(upstream_shapes("reconet_fuser_v1", width=8)), tmp_path / "a.pth")
    assert adapt("reconet_fuser_v1", [tmp_path / "a.pth"]).settings == {"width": 8}
    torch.save(synthetic(upstream_shapes("lrrnet", channels=6, blocks=2, fusion="add")), tmp_path / "b.pth")
    assert adapt("lrrnet", [tmp_path / "b.pth"]).settings == {"channels": 6, "blocks": 2, "fusion": "add"}


@pytest.mark.parametrize("name", IMPORTABLE)
def test_every_network_with_upstream_names_has_a_release_and_gives_each_tensor_its_own_name(name):
    assert name in RELEASES
    names = upstream_names(build_network(name))
    assert len(set(names.values())) == len(names)
    heads = tuple(head for part in RELEASES[name].parts for head in part.heads)
    assert all(theirs.startswith(heads) for theirs in names.values())
    assert set(RELEASES[name].settings) <= set(NETWORKS[name].Settings.describe())


def test_a_fingerprint_is_of_the_values_and_not_of_the_file(shared):
    tensors = reconet_tensors(shared)
    backwards = dict(reversed(tensors.items()))
    assert fingerprint(backwards) == fingerprint(tensors) == RELEASES["reconet_fuser"].fingerprint
    tensors["fus_conv.0.bias"] = tensors["fus_conv.0.bias"] + 1e-6
    assert fingerprint(tensors) != fingerprint(backwards)


# --- What must not be loaded ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["zip", "legacy", "plain"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(shared, tmp_path, form):
    marker = tmp_path / "it_ran"
    content = {"state_dict": reconet_tensors(shared), "hyper_parameters": Intruder(marker)}
    path = tmp_path / "params.pth"
    if form == "plain":
        path.write_bytes(pickle.dumps(content["hyper_parameters"], protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError, match=r"not loaded, because it asks to import \w+.* nothing but tensors"):
        adapt("reconet_fuser", [path])
    assert not marker.exists()
    if form == "zip":  # the file is a trap indeed
        torch.load(path, weights_only=False)
        assert marker.exists()


def test_a_pickled_module_is_refused_by_the_name_of_its_class(tmp_path):
    torch.save(torch.nn.Conv2d(1, 1, 3), tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match=r"asks to import torch\.nn\.modules\.conv\.Conv2d"):
        read_checkpoint(tmp_path / "whole.pth")


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_a_file_cut_anywhere_is_refused(shared, tmp_path, form):
    path = tmp_path / ("x.safetensors" if form == "safetensors" else "x.pth")
    if form == "safetensors":
        save_file(reconet_tensors(shared), path)
    else:
        torch.save(reconet_tensors(shared), path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    for part in range(20):
        path.write_bytes(whole[: len(whole) * part // 20])
        with pytest.raises(WeightsError, match=r"x\.\w+: expected a complete"):
            read_checkpoint(path)


@pytest.mark.filterwarnings("ignore")  # torch comments on what it finds in such files
@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_damaged_file_is_refused_or_read_but_never_crashes(shared, tmp_path, form):
    path = tmp_path / "x.pth"
    torch.save(reconet_tensors(shared), path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    refused = 0
    for seed in range(60):
        damaged = bytearray(whole)
        for position in np.random.default_rng(seed).integers(0, min(4000, len(whole)), 4):
            damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            read_checkpoint(path)
        except WeightsError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"<!DOCTYPE html>\n<html>", "a web page: download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"", "expected a complete checkpoint"),
        (b"just text", "expected a complete checkpoint"),
    ],
)
def test_a_file_that_is_no_checkpoint_says_what_it_is(tmp_path, content, text):
    path = tmp_path / "params.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"params\.pth: .*{text}"):
        read_checkpoint(path)


def test_an_archive_of_checkpoints_is_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "nestfuse.zip", "w") as archive:
        archive.writestr("nestfuse/nestfuse_gray_1e2.model", b"...")
    with pytest.raises(WeightsError, match=r"other files \(nestfuse/nestfuse_gray_1e2\.model\): unpack it"):
        read_checkpoint(tmp_path / "nestfuse.zip")


def test_an_absent_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no weights file at .*absent\.pth"):
        read_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(WeightsError, match="expected a file that can be read: Is a directory"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([torch.zeros(1)], "expected a mapping of names to tensors.*, got a list"),
        ({}, "got an empty one"),
        ({"epoch": 3, "loss": 0.5}, r"got epoch \(int\), loss \(float\)"),
    ],
)
def test_content_that_is_no_state_dict_is_refused(tmp_path, content, text):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=text):
        read_checkpoint(tmp_path / "x.pth")


# --- What belongs to another method, or to none ------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("reconet_fuser", "lrrnet"),
        ("lrrnet", "didfuse"),
        ("didfuse", "reconet_fuser"),
        ("reconet_fuser_v1", "reconet_micro_register"),  # they share some names
        ("reconet_micro_register", "reconet_unet_register"),
    ],
)
def test_a_file_of_another_method_names_that_method(authors_files, asked, given):
    with pytest.raises(WeightsError, match=rf"not the weights of {asked}: missing: .* it looks like {given}:"):
        adapt(asked, authors_files(given)[:1])


def test_a_foreign_file_lists_the_first_names_and_counts_the_rest(tmp_path):
    torch.save({f"layer{i}.weight": torch.zeros(1) for i in range(5)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError) as caught:
        adapt("reconet_fuser", [tmp_path / "x.pth"])
    text = str(caught.value)
    assert "missing: att_a_conv.weight, att_b_conv.weight, dil_conv_1.0.bias and 27 more" in text
    assert "unexpected: layer0.weight, layer1.weight, layer2.weight and 2 more" in text
    assert "looks like" not in text


def test_a_file_with_one_tensor_less_or_more_is_refused(shared, tmp_path):
    tensors = reconet_tensors(shared)
    torch.save(tensors | {"head.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(WeightsError, match=r"missing: none; unexpected: head\.weight$"):
        adapt("reconet_fuser", [tmp_path / "more.pth"])
    tensors.pop("att_a_conv.weight")
    torch.save(tensors, tmp_path / "less.pth")
    with pytest.raises(WeightsError, match=r"missing: att_a_conv\.weight; unexpected: none$"):
        adapt("reconet_fuser", [tmp_path / "less.pth"])


def test_tensors_under_our_own_names_need_no_import(tmp_path):
    save_file(build_network("reconet_fuser").state_dict(), tmp_path / "best.safetensors")
    with pytest.raises(
        WeightsError, match="this project's own, those of reconet_fuser: nothing is to be imported"
    ):
        adapt("reconet_fuser", [tmp_path / "best.safetensors"])


def test_half_of_didfuse_says_which_file_is_missing(authors_files):
    decoder, encoder = authors_files("didfuse")
    with pytest.raises(WeightsError, match=r"the decoder of didfuse is missing.*Models/Decoder_weight_IJCAI\.pkl"):
        adapt("didfuse", [encoder])
    with pytest.raises(WeightsError, match=r"the encoder of didfuse is missing.*Models/Encoder_weight_IJCAI\.pkl"):
        adapt("didfuse", [decoder])
    with pytest.raises(WeightsError, match="both hold the decoder of didfuse"):
        adapt("didfuse", [decoder, encoder, decoder])


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("fus_conv.0.weight", lambda t: t[:, :5], r"shapes differ: fus_conv\.0\.weight expected \(1, 192, 3, 3\)"),
        ("fus_conv.0.bias", lambda t: t * float("nan"), r"got NaN or infinity in fus_conv\.0\.bias"),
        (
            "fus_conv.0.bias",
            lambda t: t.to(torch.int64),
            r"fus_conv\.0\.bias: expected torch\.float32, got torch\.int64",
        ),
        ("dil_conv_1.1.running_var", lambda t: t - 1e6, "output is finite"),
        ("dil_conv_1.0.weight", lambda t: t[:0], "shapes ask for a network that cannot be built: width"),
    ],
)
def test_tensors_that_cannot_be_right_are_named(shared, tmp_path, name, change, text):
    tensors = reconet_tensors(shared)
    tensors[name] = change(tensors[name])
    torch.save(tensors, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=rf"x\.pth.*{text}"):
        adapt("reconet_fuser", [tmp_path / "x.pth"])
