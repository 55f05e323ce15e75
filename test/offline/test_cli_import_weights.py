"""``fusion-ros import-weights``: authors' files become a model that works, or nothing at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion_ros.cards import read_card
from fusion_ros.cli.main import main
from fusion_ros.weights import find_model, load_network


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """The user's folder of models."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "fusion_ros" / "models"


def entries(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("network", "reference", "key"),
    [("lrrnet", "lrrnet/odd_tno_05", "out"), ("didfuse", "didfuse/odd_tno_05", "out_sum")],
)
def test_an_imported_model_gives_its_authors_outputs(own, authors_files, shared, capsys, network, reference, key):
    files = authors_files(network)
    assert main(["import-weights", network, *map(str, files)]) == 0
    shown = capsys.readouterr().out
    assert f"--model {network}_authors" in shown
    assert "held against the outputs of the authors' network" in shown
    arrays = np.load(shared / "reference" / f"{reference}.npz")
    model = load_network(f"{network}_authors")
    with torch.no_grad():
        output = model(torch.from_numpy(arrays["ir_in"]), torch.from_numpy(arrays["vis_in"])).numpy()
    assert np.abs(output - arrays[key]).max() < 1e-5


def test_the_card_says_where_the_weights_come_from_and_whose_they_are(own, authors_files):
    (file,) = authors_files("lrrnet")
    assert main(["import-weights", "lrrnet", str(file)]) == 0
    card = read_card(own / "lrrnet_authors")
    assert card.parameters == 49204
    assert card.network_settings == {"channels": 128, "blocks": 4, "fusion": "cat"}
    assert card.licence == "none stated"
    assert "hli1221/imagefusion-LRRNet @ e489fc3" in card.data
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert card.recipe["imported_from"] == [{"file": file.name, "sha256": sha256}]
    assert any("not ours to distribute" in note for note in card.notes)
    assert any("Value by value" in note for note in card.notes)


def test_weights_that_were_trained_again_are_not_called_the_authors(own, authors_files, capsys):
    (file,) = authors_files("reconet_fuser")
    tensors = torch.load(file, weights_only=True)
    tensors["fus_conv.0.bias"] += 0.01
    torch.save(tensors, file)
    assert main(["import-weights", "reconet", str(file)]) == 0
    assert "licence: not known" in capsys.readouterr().out
    card = read_card(own / "reconet_fuser_authors")
    assert card.licence == card.data == card.commit == "not known"
    assert not any("MIT" in note for note in card.notes)


def test_a_register_says_that_it_gives_no_image_and_what_it_was_trained_on(own, authors_files, capsys):
    (file,) = authors_files("reconet_micro_register")
    assert main(["import-weights", "reconet_micro_register", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "gives a flow, not an image" in shown
    assert "MNIST" in shown
    assert "Copyright (c) 2022 Zhanbo Huang" in shown


def test_the_name_and_the_folder_can_be_chosen(own, authors_files, tmp_path, capsys):
    (file,) = authors_files("reconet_fuser")
    out = tmp_path / "elsewhere"
    assert main(["import-weights", "reconet", str(file), "--name", "eccv", "--out", str(out)]) == 0
    assert f"--model {out / 'eccv'}" in capsys.readouterr().out
    assert read_card(out / "eccv").name == "eccv"
    assert not own.exists()


def test_a_second_import_needs_replace(own, authors_files, capsys):
    (file,) = authors_files("reconet_fuser")
    command = ["import-weights", "reconet", str(file)]
    assert main(command) == 0
    (own / "reconet_fuser_authors" / "card.yaml").open("a").write("# touched\n")
    assert main(command) == 2
    assert "reconet_fuser_authors exists; give --replace" in capsys.readouterr().err
    assert main([*command, "--replace"]) == 0
    assert "# touched" not in (own / "reconet_fuser_authors" / "card.yaml").read_text()
    assert entries(own) == [
        "reconet_fuser_authors",
        "reconet_fuser_authors/card.yaml",
        "reconet_fuser_authors/weights.safetensors",
    ]


def test_a_file_that_cannot_be_used_leaves_nothing_behind(own, authors_files, capsys):
    (file,) = authors_files("reconet_fuser")
    assert main(["import-weights", "lrrnet", str(file)]) == 2
    assert "it looks like reconet_fuser: 'fusion-ros import-weights reconet_fuser" in capsys.readouterr().err
    file.write_bytes(file.read_bytes()[:-5000])
    assert main(["import-weights", "reconet", str(file)]) == 2
    assert "expected a complete checkpoint" in capsys.readouterr().err
    assert not own.exists()


def test_a_failed_replacement_keeps_the_old_model(own, authors_files, capsys):
    (file,) = authors_files("reconet_fuser")
    command = ["import-weights", "reconet", str(file), "--replace"]
    assert main(command) == 0
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    file.write_bytes(b"<html>")
    assert main(command) == 2
    assert "a web page" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before


def test_an_import_never_hides_a_shipped_model(own, authors_files, capsys, repository):
    (file,) = authors_files("reconet_fuser")
    assert main(["import-weights", "reconet", str(file), "--name", "reconet"]) == 2
    assert "a model 'reconet' is installed in" in capsys.readouterr().err
    assert find_model("reconet") == repository / "models" / "reconet"
    assert not own.exists()


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "~me"])
def test_a_name_that_is_no_folder_name_is_refused(own, authors_files, capsys, name):
    (file,) = authors_files("reconet_fuser")
    status = main(["import-weights", "reconet", str(file), "--name", name])
    assert status == 2
    assert "--name: expected letters, digits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("lrnet", "no method 'lrnet' with weights to import; did you mean 'lrrnet'?"),
        ("rfvif", "rfvif: there is nothing to import: no weights of it are public"),
    ],
)
def test_a_method_without_public_weights_says_so(own, capsys, method, text):
    assert main(["import-weights", method, "any.pth"]) == 2
    assert text in capsys.readouterr().err


def test_a_user_without_a_home_is_asked_for_a_folder(authors_files, capsys, monkeypatch):
    (file,) = authors_files("reconet_fuser")
    monkeypatch.setattr("fusion_ros.cli.import_weights.user_models", lambda: None)
    assert main(["import-weights", "reconet", str(file)]) == 2
    assert "you have no home folder to put models into; give --out" in capsys.readouterr().err


def test_an_imported_model_fuses_files(own, authors_files, tmp_path, shared):
    cv2 = pytest.importorskip("cv2")
    (file,) = authors_files("reconet_fuser")
    assert main(["import-weights", "reconet", str(file)]) == 0
    arrays = np.load(shared / "reference" / "reconet" / "odd_tno_05.npz")
    for name in ("ir", "vis"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), arrays[f"{name}_u8"])
    images = ["--rgb", str(tmp_path / "vis.png"), "--thermal", str(tmp_path / "ir.png")]
    out = tmp_path / "fused.png"
    exact = ["--thermal.mode", "passthrough", "--engine.name", "torch"]
    assert main(["fuse", *images, "--out", str(out), "--model", "reconet_fuser_authors", *exact]) == 0
    fused = cv2.imread(str(out), cv2.IMREAD_GRAYSCALE)
    assert np.abs(fused.astype(int) - arrays["out_u8"]).max() <= 1
