"""Weights: found in the documented order, verified, and loaded strictly."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from fusion_ros import weights
from fusion_ros.cards import ModelCard, read_card
from fusion_ros.errors import SettingsError, WeightsError
from fusion_ros.networks import ReCoNetFuser, ReCoNetFuserSettings
from fusion_ros.weights import (
    file_sha256,
    find_model,
    install_model,
    load_network,
    load_upstream,
    model_folders,
    model_names,
    share_folders,
    user_models,
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
    monkeypatch.setattr(weights, "share_folders", lambda: ())
    monkeypatch.setattr(weights, "user_models", lambda: None)
    assert model_names() == ()
    with pytest.raises(WeightsError, match=r"no model folder exists; .*set FUSION_ROS_MODELS"):
        find_model("mine")


def test_the_users_folder_is_searched_after_the_environment_and_before_the_installation(tmp_path, monkeypatch):
    own = tmp_path / "data" / "fusion_ros" / "models"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("FUSION_ROS_MODELS", str(tmp_path / "named"))
    assert user_models() == own
    assert model_folders()[:2] == (tmp_path / "named", own)
    make_model(own, "mine")
    assert find_model("mine") == own / "mine"
    make_model(tmp_path / "named", "mine")
    assert find_model("mine") == tmp_path / "named" / "mine"


@pytest.mark.parametrize("value", [None, "", "relative/data"])
def test_without_a_usable_data_folder_the_users_models_are_in_the_home(tmp_path, monkeypatch, value):
    monkeypatch.setenv("HOME", str(tmp_path))
    if value is None:
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_DATA_HOME", value)
    assert user_models() == tmp_path / ".local" / "share" / "fusion_ros" / "models"


def test_a_user_without_a_home_still_finds_what_is_installed(monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert user_models() is None
    assert "reconet" in model_names()


def test_a_network_without_weights_says_how_to_get_them(models, monkeypatch):
    monkeypatch.setattr(weights, "share_folders", lambda: ())
    with pytest.raises(
        WeightsError, match=r"no weights for lrrnet .*'fusion-ros import-weights lrrnet <network-file>"
    ):
        find_model("lrrnet")
    with pytest.raises(WeightsError, match=r"no weights for rfvif .*no weights of it are public: train your own"):
        find_model("rfvif")
    with pytest.raises(WeightsError, match=r"no weights for reconet_fuser_v1 .*its authors released none"):
        find_model("reconet_fuser_v1")


def test_a_network_whose_weights_have_another_name_names_them(models, monkeypatch):
    monkeypatch.setattr(weights, "share_folders", lambda: ())
    make_model(models, "reconet_fuser_authors")
    with pytest.raises(WeightsError, match=r"under that name; its installed weights: reconet_fuser_authors;"):
        find_model("reconet_fuser")


def test_a_classical_method_is_no_model(models):
    with pytest.raises(WeightsError, match="average is a classical method: it has no weights"):
        find_model("average")


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
    make_model(models, tensors=ReCoNetFuser(ReCoNetFuserSettings(width=8)).state_dict())
    with pytest.raises(WeightsError, match=r"expected \(64,\), got \(8,\) and \d+ more"):
        load_network("tiny")


def test_the_network_is_built_as_the_card_says(models):
    settings = ReCoNetFuserSettings(width=8)
    tensors = ReCoNetFuser(settings).state_dict()
    make_model(models, tensors=tensors, network_settings={"width": 8, "recurrences": 2})
    network = load_network("tiny")
    assert network.settings == ReCoNetFuserSettings(width=8, recurrences=2)
    assert load_network("tiny", {"recurrences": 5}).settings == ReCoNetFuserSettings(width=8, recurrences=5)


def test_a_card_without_network_settings_is_valid(models):
    path = make_model(models) / "card.yaml"
    content = yaml.safe_load(path.read_text())
    del content["network_settings"], content["notes"]
    path.write_text(yaml.safe_dump(content))
    assert read_card(path.parent).network_settings == {}
    assert load_network("tiny").settings == ReCoNetFuserSettings()


def test_a_setting_that_does_not_fit_the_weights_is_named(models):
    make_model(models)
    with pytest.raises(WeightsError, match=r"shapes differ: .*made for another value of width: leave it out"):
        load_network("tiny", {"recurrences": 2, "width": 32})


def test_an_unknown_or_impossible_setting_is_refused_with_the_models_name(models):
    make_model(models)
    with pytest.raises(SettingsError, match=r"tiny: unknown setting 'recurences'; did you mean 'recurrences'"):
        load_network("tiny", {"recurences": 2})
    make_model(models, "wrong", network_settings={"width": 0})
    with pytest.raises(SettingsError, match="wrong: width: expected 1 to 1024, got 0"):
        load_network("wrong")


def test_tensors_that_fit_no_setting_blame_none(models):
    tensors = ReCoNetFuser().state_dict()
    tensors["decoder.weight"] = tensors.pop("fuse.0.weight")
    make_model(models, tensors=tensors)
    with pytest.raises(WeightsError, match=r"unexpected: decoder\.weight$"):
        load_network("tiny", {"width": 32})


def test_a_model_of_another_format_is_not_opened(models):
    folder = make_model(models)
    torch.save(ReCoNetFuser().state_dict(), folder / "weights.pth")
    content = yaml.safe_load((folder / "card.yaml").read_text())
    content |= {"file": "weights.pth", "sha256": file_sha256(folder / "weights.pth")}
    (folder / "card.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(WeightsError, match=r"weights\.pth: expected a complete safetensors file"):
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
        ({"network_settings": [1]}, r"network_settings: expected dict, got list \[1\]"),
        ({"seed": "0"}, "seed: expected int or NoneType, got str '0'"),
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


def card_of(name: str) -> ModelCard:
    return ModelCard(
        name=name, network="reconet_fuser", parameters=7527, file="", sha256="", licence="CC0-1.0", data="none",
        recipe={}, commit="0", seed=None, date="2025-01-01", hardware="any", metrics={},
    )  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_installed_model_is_complete_and_readable_for_all(models):
    network = ReCoNetFuser()
    folder = install_model(models, card_of("new"), network.state_dict())
    assert sorted(contents(models)) == ["new/card.yaml", "new/weights.safetensors"]
    assert verify(folder).seed is None
    loaded = load_network("new")
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in network.state_dict().items())
    assert (folder / "weights.safetensors").stat().st_mode == (folder / "card.yaml").stat().st_mode


def test_a_model_is_replaced_only_on_request_and_only_by_one_that_loads(models):
    make_model(models)
    before = contents(models)
    good, bad = ReCoNetFuser().state_dict(), {"a": torch.zeros(1)}
    with pytest.raises(WeightsError, match="tiny exists; give --replace"):
        install_model(models, card_of("tiny"), good)
    with pytest.raises(WeightsError, match="does not belong to ReCoNetFuser"):
        install_model(models, card_of("tiny"), bad, replace=True)
    assert contents(models) == before
    install_model(models, card_of("tiny"), good, replace=True)
    assert read_card(models / "tiny").licence == "CC0-1.0"
    assert sorted(path.name for path in models.iterdir()) == ["tiny"]


def test_a_folder_that_is_no_model_is_never_replaced(models):
    (models / "holiday").mkdir(parents=True)
    (models / "holiday" / "picture.jpg").write_bytes(b"sea")
    with pytest.raises(WeightsError, match="holiday exists and is no model folder"):
        install_model(models, card_of("holiday"), ReCoNetFuser().state_dict(), replace=True)
    assert contents(models) == {"holiday/picture.jpg": b"sea"}


def test_a_move_that_fails_brings_the_old_model_back(models, monkeypatch):
    make_model(models)
    before = contents(models)
    move = Path.replace

    def fail_at_the_last_step(self: Path, target: Path) -> Path:
        if target == models / "tiny" and self.name == "tiny":
            raise OSError("disk on fire")
        return move(self, target)

    monkeypatch.setattr(Path, "replace", fail_at_the_last_step)
    with pytest.raises(WeightsError, match="cannot be written: disk on fire"):
        install_model(models, card_of("tiny"), ReCoNetFuser().state_dict(), replace=True)
    assert contents(models) == before


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WeightsError, match=r"file/new: cannot be written"):
        install_model(tmp_path / "file", card_of("new"), ReCoNetFuser().state_dict())


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
