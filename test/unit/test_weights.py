"""Weights: found in the documented order, verified, and loaded strictly."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from fusion_ros import weights
from fusion_ros.errors import SettingsError, WeightsError
from fusion_ros.networks import ReCoNetFuser
from fusion_ros.weights import (
    ModelCard,
    file_sha256,
    find_model,
    load_network,
    load_upstream,
    model_names,
    read_card,
    share_folders,
    verify,
)


def make_model(models: Path, name: str = "tiny", tensors: dict | None = None, **changes) -> Path:
    """Write a model folder with the fuser's fresh weights, or with other tensors."""
    folder = models / name
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    save_file(ReCoNetFuser().state_dict() if tensors is None else tensors, folder / "weights.safetensors")
    card = ModelCard(
        name=name,
        network="reconet_fuser",
        parameters=7527,
        file="weights.safetensors",
        sha256=file_sha256(folder / "weights.safetensors"),
        licence="Apache-2.0",
        data="none",
        recipe={"name": "none"},
        commit="0000000",
        seed=0,
        date="2025-01-01",
        hardware="any",
        metrics={},
        notes=("Not trained.",),
    )
    (folder / "card.yaml").write_text(dataclasses.replace(card, **changes).text())
    return folder


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FUSION_ROS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_a_model_is_found_by_name_and_loads_in_inference_mode(models):
    folder = make_model(models)
    assert find_model("tiny") == folder
    assert "tiny" in model_names()
    network = load_network("tiny")
    assert not network.training
    torch.manual_seed(0)
    for name, tensor in ReCoNetFuser().state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name


def test_a_folder_is_taken_as_it_is_given(tmp_path, monkeypatch):
    folder = make_model(tmp_path)
    assert find_model(folder) == find_model(str(folder)) == folder
    monkeypatch.chdir(tmp_path)
    assert find_model("./tiny").resolve() == folder
    with pytest.raises(WeightsError, match=r"elsewhere: expected a model folder with card\.yaml"):
        find_model(tmp_path / "elsewhere")


def test_the_environment_is_searched_before_the_installation(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    installed = tmp_path / "ros" / "share" / "fusion_ros" / "models"
    for folder in (second, installed):
        make_model(folder, "both")
    make_model(installed, "only_installed")
    monkeypatch.setenv("FUSION_ROS_MODELS", f"{first}:{second}")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "ros"))
    assert find_model("both") == second / "both"
    assert find_model("only_installed") == installed / "only_installed"
    assert share_folders()[0] == tmp_path / "ros" / "share" / "fusion_ros"
    assert {"both", "only_installed"} <= set(model_names())


def test_an_unknown_name_says_where_it_looked_and_what_is_near(models):
    make_model(models)
    with pytest.raises(WeightsError, match=r"no model 'tinny'; looked in .*models.*did you mean 'tiny'\?"):
        find_model("tinny")


def test_no_model_at_all_says_how_to_name_a_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("FUSION_ROS_MODELS", raising=False)
    monkeypatch.setattr(weights, "share_folders", lambda: ())
    assert model_names() == ()
    with pytest.raises(WeightsError, match="no model folder exists; set FUSION_ROS_MODELS"):
        find_model("reconet")


def test_a_changed_byte_is_found_and_both_hashes_are_named(models):
    folder = make_model(models)
    path = folder / "weights.safetensors"
    expected = file_sha256(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"expected sha256 {expected}, got {file_sha256(path)}"):
        verify(folder)
    with pytest.raises(WeightsError, match="damaged"):
        load_network("tiny")


def test_an_absent_file_is_named(models):
    folder = make_model(models)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"weights\.safetensors: expected the weights that card\.yaml names"):
        load_network("tiny")


def test_tensors_of_another_network_are_listed(models):
    tensors = ReCoNetFuser().state_dict()
    tensors["decoder.weight"] = tensors.pop("fuse.0.weight")
    make_model(models, tensors=tensors)
    with pytest.raises(WeightsError, match=r"missing: fuse\.0\.weight; unexpected: decoder\.weight"):
        load_network("tiny")


def test_tensors_of_another_shape_are_listed(models):
    make_model(models, tensors=ReCoNetFuser(width=8).state_dict())
    with pytest.raises(WeightsError, match=r"expected \(64,\), got \(8,\) and \d+ more"):
        load_network("tiny")


def test_an_unknown_network_on_the_card_is_refused(models):
    make_model(models, network="reconet_fusr")
    with pytest.raises(SettingsError, match="did you mean 'reconet_fuser'"):
        load_network("tiny")


def test_a_card_survives_writing_and_reading(models):
    folder = make_model(models, metrics={"set, 3 pairs": {"these weights": {"EN": 7.25}}})
    card = read_card(folder)
    assert card.metrics["set, 3 pairs"]["these weights"]["EN"] == 7.25
    assert card.notes == ("Not trained.",)
    assert yaml.safe_load(card.text()) == yaml.safe_load((folder / "card.yaml").read_text())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"licence": None}, "missing fields: licence; unknown fields: none"),
        ({"license": "MIT"}, "missing fields: none; unknown fields: license"),
        ({"parameters": "many"}, "parameters: expected int, got str 'many'"),
        ({"recipe": "adam"}, "recipe: expected dict, got str 'adam'"),
    ],
)
def test_a_wrong_card_is_refused_by_field(models, change, text):
    path = make_model(models) / "card.yaml"
    content = yaml.safe_load(path.read_text()) | change
    path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
    with pytest.raises(WeightsError, match=text):
        read_card(path.parent)


@pytest.mark.parametrize(
    ("content", "text"), [("a: [", "not valid YAML"), ("- a", "expected a mapping of fields")]
)
def test_a_card_that_is_no_card_is_refused(models, content, text):
    folder = make_model(models)
    (folder / "card.yaml").write_text(content)
    with pytest.raises(WeightsError, match=text):
        read_card(folder)


def test_the_authors_file_must_be_complete(shared, tmp_path):
    whole = (shared / "weights" / "upstream" / "reconet.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"cut\.safetensors: expected a complete safetensors file"):
        load_upstream(ReCoNetFuser(), path)
    with pytest.raises(WeightsError, match="no weights file at"):
        load_upstream(ReCoNetFuser(), tmp_path / "absent.safetensors")


def test_the_authors_file_of_another_network_is_refused(shared):
    with pytest.raises(
        WeightsError, match=r"does not belong to ReCoNetFuser: missing: .*unexpected: .* and \d+ more"
    ):
        load_upstream(ReCoNetFuser(), shared / "weights" / "upstream" / "lrrnet.safetensors")


def test_a_network_without_upstream_names_says_so(tmp_path):
    with pytest.raises(WeightsError, match="Identity has no table of upstream names"):
        load_upstream(torch.nn.Identity(), tmp_path / "any.safetensors")


def test_the_shipped_model_is_intact_and_is_the_network_that_its_card_describes(repository):
    folder = repository / "models" / "reconet"
    card = verify(folder)
    network = load_network(folder)
    assert card.name == folder.name
    assert sum(parameter.numel() for parameter in network.parameters()) == card.parameters == 7527
