"""``fusion-ros models``: lists, shows and verifies what is installed."""

from __future__ import annotations

import hashlib

import pytest
import yaml

from fusion_ros import weights
from fusion_ros.classical import CLASSICAL
from fusion_ros.cli import models
from fusion_ros.cli.main import main
from fusion_ros.networks import NETWORKS


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A folder with one model, found through the environment variable."""
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"tensors")
    card = {
        "name": "tiny",
        "network": "reconet_fuser",
        "parameters": 12345,
        "file": "weights.safetensors",
        "sha256": hashlib.sha256(b"tensors").hexdigest(),
        "licence": "CC0-1.0",
        "data": "one synthetic street",
        "recipe": {"name": "smoke", "steps": 3},
        "commit": "abc",
        "seed": 1,
        "date": "2026-11-01",
        "hardware": "a laptop",
        "metrics": {"street": {"fused": {"ssim": 0.5}}},
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    monkeypatch.setenv("FUSION_ROS_MODELS", str(tmp_path / "models"))
    return folder


@pytest.fixture
def nothing_shipped(monkeypatch):
    """Hide the models that come with the package."""
    for module in (weights, models):
        monkeypatch.setattr(module, "share_folders", lambda: ())


def test_list_shows_a_line_for_each_model(model, capsys):
    assert main(["models", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["tiny", "reconet_fuser", "12,345", "CC0-1.0", str(model.parent)] in lines
    assert ["reconet", "reconet_fuser", "7,527", "Apache-2.0", "shipped"] in lines


def test_list_tells_the_users_own_models_from_the_shipped_ones(model, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("FUSION_ROS_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "fusion_ros").mkdir()
    model.parent.rename(tmp_path / "fusion_ros" / "models")
    assert main(["models", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["tiny", "reconet_fuser", "12,345", "CC0-1.0", "yours"] in lines


def test_list_shows_what_has_no_weights_and_what_needs_none(model, nothing_shipped, capsys):
    assert main(["models", "list"]) == 0
    installed, rest = capsys.readouterr().out.split("\n\nnetworks without weights here\n")
    lacking, classical = rest.split("\n\nclassical methods, which need no weights\n")
    assert "fusion-ros import-weights lrrnet <network-file>" in lacking
    assert "fusion-ros import-weights didfuse <encoder-file> <decoder-file>" in lacking
    assert any(line.startswith("rfvif ") and line.endswith("none are public") for line in lacking.splitlines())
    assert "reconet_fuser " in installed
    assert "reconet_fuser " not in lacking
    assert {line.split()[0] for line in classical.splitlines()[3:]} == set(CLASSICAL)


def test_a_card_that_cannot_be_read_hides_no_other(model, capsys):
    (model.parent / "broken").mkdir()
    (model.parent / "broken" / "card.yaml").write_text("a: [")
    assert main(["models", "list"]) == 2
    shown = capsys.readouterr()
    assert "tiny" in shown.out
    assert "broken/card.yaml is not valid YAML" in shown.err


def test_show_prints_the_whole_card(model, capsys):
    assert main(["models", "show", "tiny"]) == 0
    card = yaml.safe_load(capsys.readouterr().out)
    assert card["metrics"] == {"street": {"fused": {"ssim": 0.5}}}
    assert main(["models", "show", "tny"]) == 2
    assert "no model 'tny'" in capsys.readouterr().err


def test_show_describes_a_network_without_weights(model, nothing_shipped, capsys):
    assert main(["models", "show", "lrrnet"]) == 0
    shown = capsys.readouterr().out
    facts = dict(line.split(maxsplit=1) for line in shown.split("\n\n")[0].splitlines())
    assert facts["parameters"] == "49,204"
    assert facts["takes"] == "infrared and visible, each stretched to [0, 1] from its own minimum and maximum"
    assert "fusion-ros import-weights lrrnet" in facts["weights"]
    assert "model/final_lrr_net" in shown
    settings = [line.split(maxsplit=2) for line in shown.split("\n\n")[-1].splitlines()]
    assert {"channels", "blocks", "fusion"} <= {row[0] for row in settings}


def test_show_describes_the_network_behind_a_model_on_request(model, nothing_shipped, capsys):
    assert main(["models", "show", "reconet_fuser", "--network"]) == 0
    facts = capsys.readouterr().out
    assert "weights         tiny\n" in facts
    assert "attention_infrared" in facts
    assert main(["models", "show", "tiny", "--network"]) == 0
    assert capsys.readouterr().out == facts


def test_the_name_of_a_model_and_of_another_network_means_the_model_unless_asked(model, capsys):
    assert NETWORKS["reconet"].spec.title == "ReCoNet"
    assert main(["models", "show", "reconet"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["network"] == "reconet_fuser"
    assert main(["models", "show", "reconet", "--network"]) == 0
    shown = capsys.readouterr().out
    assert shown.index(NETWORKS["reconet_fuser"].spec.title) < shown.index(
        "another network bears the name of this model"
    )
    assert "register" in shown.partition("another network bears the name")[2]


def test_show_describes_a_classical_method(model, capsys):
    assert main(["models", "show", "laplacian"]) == 0
    shown = capsys.readouterr().out
    assert CLASSICAL["laplacian"].title in shown
    assert CLASSICAL["laplacian"].source in shown


@pytest.mark.parametrize("name", NETWORKS)
def test_show_can_describe_every_network(model, capsys, name):
    assert main(["models", "show", name, "--network"]) == 0
    shown = capsys.readouterr().out
    assert NETWORKS[name].spec.source in shown
    assert all(leaf in shown for leaf in NETWORKS[name].Settings.describe())


def test_verify_tells_intact_from_damaged_and_fails_for_the_latter(model, capsys):
    assert main(["models", "verify", "tiny"]) == 0
    assert "tiny: intact" in capsys.readouterr().out
    (model / "weights.safetensors").write_bytes(b"tensorz")
    assert main(["models", "verify", "tiny"]) == 2
    assert "damaged" in capsys.readouterr().out
