"""``fusion-ros models``: lists, shows and verifies what is installed."""

from __future__ import annotations

import hashlib

import pytest
import yaml

from fusion_ros.cli.main import main


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A folder with one model, found through the environment variable."""
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"tensors")
    card = {
        "name": "tiny",
        "network": "reconet",
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


def test_list_shows_a_line_for_each_model(model, capsys):
    assert main(["models", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["tiny", "reconet", "12,345", "CC0-1.0"] in lines


def test_show_prints_the_whole_card(model, capsys):
    assert main(["models", "show", "tiny"]) == 0
    card = yaml.safe_load(capsys.readouterr().out)
    assert card["metrics"] == {"street": {"fused": {"ssim": 0.5}}}
    assert main(["models", "show", "tny"]) == 2
    assert "no model 'tny'" in capsys.readouterr().err


def test_verify_tells_intact_from_damaged_and_fails_for_the_latter(model, capsys):
    assert main(["models", "verify", "tiny"]) == 0
    assert "tiny: intact" in capsys.readouterr().out
    (model / "weights.safetensors").write_bytes(b"tensorz")
    assert main(["models", "verify", "tiny"]) == 2
    assert "damaged" in capsys.readouterr().out
