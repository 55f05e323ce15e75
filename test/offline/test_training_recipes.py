"""The recipes: what each learns, that a seed decides all, and what their losses and cards say."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math

import numpy as np
import pytest
import torch
from small_trainings import NARROW, pairs, recipe_of, trained, write_folders

import training.recipes.perceptual
from fusion_ros.errors import SettingsError, WeightsError
from fusion_ros.metrics import evaluate, select_columns
from fusion_ros.weights import load_network
from training.data.pairs import FilePair, Split
from training.data.sets import open_sets
from training.deployed import fuse_images
from training.losses.perceptual import StructureFeatures
from training.losses.vgg import VGG16Features
from training.recipes import RECIPES

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = {"crop": 16, "pairs_per_epoch": 10, "epochs": 2, "learning_rate": 1e-3}
SHORT = {"crop": 16, "pairs_per_epoch": 4, "epochs": 1}
REGISTER = {"pairs_per_epoch": 24, "learning_rate": 2e-3, "clip_norm": 1.0, "misaligned": True}


def _of_stage(history, stage, name="train_total"):
    return [row[name] for row in history if row["stage"] == stage]


def _assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def _copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


# --- each recipe learns two pairs by heart ---

# Recipe, settings, stage, and by what factor its loss falls at least from the first epoch to the last.
LEARNING = [
    ("reconet_fuser", {"epochs": 4, "pairs_per_epoch": 24, "learning_rate": 0.02}, {"fuse": 2.0}),
    ("rfvif", {"epochs": 4, "pairs_per_epoch": 10, "learning_rate": 5e-3, "misaligned": True}, {"fuse": 1.6}),
    ("rfn_nest", QUICK | {"auto_encoder_epochs": 2}, {"auto_encoder": 2.0, "fusion": 1.5}),
    ("rfn_nest", QUICK | {"strategy": "one_stage", "epochs": 4}, {"one_stage": 2.0}),
    (
        "lrrnet",
        {"epochs": 4, "pairs_per_epoch": 20, "learning_rate": 0.01, "weight_decay": 0.0, "deep_weight": 0.62},
        {"fuse": 2.0},
    ),
    ("didfuse", {"epochs": 4, "pairs_per_epoch": 12, "learning_rate": 3e-3, "crop": 16}, {"decompose": 2.0}),
]


@pytest.mark.parametrize(
    ("name", "settings", "factors"), LEARNING, ids=[f"{name}: {', '.join(stages)}" for name, _, stages in LEARNING]
)
def test_a_recipe_learns_two_pairs_by_heart(tmp_path, name, settings, factors):
    history = trained(recipe_of(name, schedule="constant", **settings), tmp_path)
    assert {row["stage"] for row in history} == factors.keys()
    for stage, factor in factors.items():
        losses = _of_stage(history, stage)
        assert losses[0] > factor * losses[-1], losses


HALF = {
    "reconet": {"epochs": 0, "joint_epochs": 1},
    "rfn_nest": {"auto_encoder_epochs": 1, "crop": 16},
    "didfuse": {"fusion": "saliency_attention", "gradient_weight": 1.0, "crop": 16},
    "fused_features": {"cross_weight": 1.0},
    "lrrnet": {"precision": "float16"},
}
"""Recipe -> settings that put more of it into half precision, or into float16's range, or make it shorter."""


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_in_half_precision_to_nearly_the_losses_of_full(tmp_path, name):
    changes = {"epochs": 1, "precision": "bfloat16"} | HALF.get(name, {})
    half = trained(recipe_of(name, **changes), tmp_path / "half")
    full = trained(recipe_of(name, **changes | {"precision": "float32"}), tmp_path / "full")
    for row, wanted in zip(half, full, strict=True):
        assert row["train_total"] == pytest.approx(wanted["train_total"], rel=0.03), row["stage"]


@pytest.mark.parametrize("stage", ["register", "joint"])
def test_the_register_finds_known_shifts_alone_and_with_the_fuser(tmp_path, stage):
    epochs = {"register_epochs": 0, "joint_epochs": 0} | {f"{stage}_epochs": 4}
    history = trained(recipe_of("reconet", **epochs, **REGISTER), tmp_path)
    losses, errors = _of_stage(history, stage), _of_stage(history, stage, "train_error_px")
    assert losses[0] > 2 * losses[-1], losses
    assert errors[0] > 2.0 > 1.0 > errors[-1], errors  # both shifts are sqrt(5) px long


def test_the_matching_register_finds_known_shifts(tmp_path):
    history = trained(recipe_of("matching_register", epochs=3, pairs_per_epoch=16, misaligned=True), tmp_path)
    losses, errors = _of_stage(history, "match"), _of_stage(history, "match", "train_error_px")
    recognition = _of_stage(history, "match", "train_recognition")
    assert losses[0] > 1.4 * losses[-1] and recognition[0] > 1.2 * recognition[-1], history
    assert errors[0] > 2 * errors[-1] and errors[-1] < 0.8, errors
    assert _of_stage(history, "match", "train_moved_px") == pytest.approx([math.sqrt(5.01)] * 3, rel=1e-3)


def test_a_register_goes_on_from_the_one_that_is_shipped_which_can_teach_it_too():
    recipe = recipe_of(
        "matching_register", start="matching_register", teacher="matching_register", register_first=True
    )
    for name, tensor in load_network("matching_register").state_dict().items():
        assert torch.equal(recipe.network.state_dict()[name], tensor), name
    notes = " ".join(recipe.notes(recipe.settings))
    assert "Begun with the weights of matching_register." in notes
    assert "registered by matching_register, locally too, or else by the structural translation" in notes
    with pytest.raises(WeightsError, match="lrrnet is no such register"):
        recipe_of("matching_register", start="lrrnet")
    with pytest.raises(SettingsError, match="expected a network that gives a flow"):
        recipe_of("matching_register", teacher="lrrnet", register_first=True)


def test_the_auto_encoder_of_rfn_nest_is_fixed_while_the_fusion_networks_learn(tmp_path):
    recipe, before = recipe_of("rfn_nest", auto_encoder_epochs=1, **SHORT), {}
    first, second = recipe.stages
    noting = dataclasses.replace(second, prepare=lambda _: before or before.update(_copied(recipe.network)))
    recipe.stages = (first, noting)
    trained(recipe, tmp_path)
    after = recipe.network.state_dict()
    assert before
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor) != name.startswith("rfns."), name


def test_all_of_rfn_nest_learns_at_once_in_the_ablation(tmp_path):
    recipe = recipe_of("rfn_nest", strategy="one_stage", **SHORT)
    before = _copied(recipe.network)
    trained(recipe, tmp_path)
    after = recipe.network.state_dict()
    changed = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    for part in ("rfns.", "lift.", "encoder.", "decoder.", "output."):
        assert any(name.startswith(part) for name in changed), part


def test_a_fuser_that_is_begun_with_stays_as_it_is_while_the_register_learns(tmp_path):
    begun = {"start": "reconet", "register_epochs": 1, "joint_epochs": 0, "misaligned": True}
    recipe = recipe_of("reconet", width=64, recurrences=3, **begun)
    fresh = _copied(recipe.network.register)
    trained(recipe, tmp_path)
    _assert_same(load_network("reconet").state_dict(), recipe.network.fuser.state_dict())
    learnt = recipe.network.register.state_dict()
    assert not any(torch.equal(learnt[name], tensor) for name, tensor in fresh.items())


@torch.no_grad()
@pytest.mark.parametrize(("epoch", "is_the_same"), [(2, False), (3, True)])
def test_once_statistics_are_fixed_training_computes_what_deployment_computes(epoch, is_the_same):
    recipe = recipe_of("reconet_fuser", statistics_epochs=2)
    (stage,) = recipe.stages
    batch = next(stage.batches.epoch(1))
    stage.prepare(epoch)
    learning = recipe.network(batch.registered, batch.visible)
    deployed = recipe.network.eval()(batch.registered, batch.visible)
    assert torch.equal(learning, deployed) is is_the_same


def test_a_model_that_is_no_such_fuser_is_refused_as_a_beginning():
    with pytest.raises(WeightsError, match=r"start: reconet is no such fuser: shapes differ: .* or its --width"):
        recipe_of("reconet", start="reconet", width=8)


def test_a_training_of_nothing_is_refused():
    with pytest.raises(SettingsError, match="expected epochs, register_epochs or joint_epochs above 0"):
        recipe_of("reconet", joint_epochs=0)
    with pytest.raises(SettingsError, match="epochs: expected at least 1"):
        recipe_of("reconet_fuser", epochs=0)


# --- one seed, one result ---


@pytest.mark.parametrize("name", RECIPES)
def test_a_seed_gives_the_same_weights_twice_and_another_seed_others(tmp_path, name):
    settings = {"crop": 16, "fit": "crop", "flip": True, "intensity": 0.5, "epochs": 1}
    if name == "rfn_nest":
        settings["auto_encoder_epochs"] = 1
    if name == "matching_register":
        settings |= {"crop": 64, "simulate": "translation:8+elastic:2", "noise": 0.1}
    if name == "fused_features":
        settings["crop"] = 64
    if name == "reconet":
        settings |= {"simulate": "elastic:2", "register_epochs": 1, "joint_epochs": 1}
    starts, results = [], []
    for number, seed in enumerate((0, 0, 1)):
        recipe = recipe_of(name, seed=seed, **settings)
        starts.append(_copied(recipe.network))
        trained(recipe, tmp_path / str(number))
        results.append(recipe.network.state_dict())
    _assert_same(results[0], results[1])
    weights = [key for key in results[0] if key.endswith("weight") and results[0][key].ndim == 4]
    assert weights
    for states in (starts, results):
        assert not any(torch.equal(states[0][key], states[2][key]) for key in weights)


# --- what is computed ---


@torch.no_grad()
def test_terms_of_ours_are_added_by_their_weights_and_the_card_says_so():
    plain = recipe_of("didfuse")
    ours = recipe_of("didfuse", gradient_weight=10.0, intensity_weight=3.0)
    batch = next(plain.stages[0].batches.epoch(1))
    for recipe in (plain, ours):
        recipe.network.eval()
    paper, both = (recipe.stages[0].losses(batch) for recipe in (plain, ours))
    assert both.keys() - paper.keys() == {"own_gradient", "own_intensity"}
    expected = paper["total"] + 10 * both["own_gradient"] + 3 * both["own_intensity"]
    torch.testing.assert_close(both["total"], expected)
    fused, infrared, visible = ours.network(batch.registered, batch.visible), batch.registered, batch.visible
    intensity = np.abs(fused.numpy() - np.maximum(infrared.numpy(), visible.numpy())).mean()
    assert float(both["own_intensity"]) == pytest.approx(intensity, rel=1e-5)
    (said,) = (note for note in ours.notes(ours.settings) if "Ours" in note)
    assert "10 x |Sobel(fused)" in said and "3 x |fused - max(infrared, visible)|" in said
    assert not any("Ours" in note for note in plain.notes(plain.settings))


def test_a_validation_measures_whole_images_as_they_will_be_fused():
    recipe = recipe_of("lrrnet", crop=16, metrics="EN,SD", metric_pairs=1)
    values = recipe.validate(recipe.stages[-1])
    infrared, visible, _ = pairs()[0].read()
    columns = select_columns("EN,SD")
    expected = evaluate(infrared, visible, fuse_images(recipe.network, infrared, visible), columns)
    assert {name: values[name] for name in expected} == pytest.approx(expected)


def test_a_validation_image_that_cannot_be_read_is_passed_over_for_the_next(tmp_path):
    found = open_sets([f"folders={write_folders(tmp_path / 'data', 11)}"])[0].found.pairs
    found[0].infrared.write_bytes(b"cut short")
    settings = {"crop": 32, "metrics": "EN,SD", "metric_pairs": 2, "epochs": 1, "keep_in_memory": False}
    small = recipe_of("lrrnet", **settings)
    recipe = type(small)(small.settings, Split(found[1:3], found))
    (row,) = trained(recipe, tmp_path / "run")
    columns = select_columns("EN,SD")
    measured = []
    for infrared, visible, _ in (pair.read() for pair in found[1:3]):
        measured.append(evaluate(infrared, visible, fuse_images(recipe.network, infrared, visible), columns))
    for name in measured[0]:
        assert row[f"validation_{name}"] == pytest.approx(np.mean([values[name] for values in measured]))
    (shown,) = recipe.pictures(recipe.stages[-1]).values()
    np.testing.assert_array_equal(shown[:, :48], found[1].read().infrared)
    for pair in found:
        pair.visible.unlink()
    assert recipe.pictures(recipe.stages[-1]) == {}


def test_stages_and_validation_keep_the_images_of_a_pair_once(tmp_path, monkeypatch):
    found = open_sets([f"folders={write_folders(tmp_path / 'data', 4)}"])[0].found.pairs
    reads, read = [], FilePair.read
    monkeypatch.setattr(FilePair, "read", lambda pair: reads.append(pair.name) or read(pair))
    small = recipe_of("rfn_nest", auto_encoder_epochs=1, epochs=1, metrics="EN", metric_pairs=2)
    recipe = type(small)(small.settings, Split(found[:2], found[2:]))
    recipe.check_images()
    history = trained(recipe, tmp_path / "run")
    assert [row["stage"] for row in history] == ["auto_encoder", "fusion"]
    assert any(name.startswith("validation_EN") for name in history[-1])
    assert sorted(reads) == [pair.name for pair in found]


# --- VGG-16, or what stands in for it ---

# torchvision's number of each convolution, and its channels.
_LAYERS = [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256)]
_LAYERS += [(17, 256, 512), (19, 512, 512), (21, 512, 512)]


@pytest.fixture(scope="module")
def vgg(tmp_path_factory) -> tuple[str, functools.partial]:
    """A file of random weights for VGG-16, and what reads it without asking for torchvision's hash."""
    generator, tensors = torch.Generator().manual_seed(0), {}
    for number, inputs, outputs in _LAYERS:
        scale = (2 / (9 * inputs)) ** 0.5
        tensors[f"features.{number}.weight"] = scale * torch.randn(outputs, inputs, 3, 3, generator=generator)
        tensors[f"features.{number}.bias"] = torch.zeros(outputs)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(tensors, path)
    return str(path), functools.partial(VGG16Features, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def _stretched(image: torch.Tensor) -> torch.Tensor:
    low, high = image.amin((2, 3), True), image.amax((2, 3), True)
    return (image - low) / (high - low)


def _mean_square(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first - second).square().mean())


@torch.no_grad()
def test_rfvif_and_lrrnet_compare_by_vgg_where_its_file_is_given(vgg, monkeypatch):
    path, read = vgg
    monkeypatch.setattr(training.recipes.perceptual, "VGG16Features", read)
    recipe = recipe_of("rfvif", vgg=path)
    recipe.network.eval()
    batch, features = next(recipe.stages[0].batches.epoch(1)), read(path, convention="imagenet")
    images = (recipe.network(batch.infrared, batch.visible), batch.visible, batch.registered)
    fused, visible, infrared = (features(image)[2] for image in images)
    expected = 0.4 * _mean_square(fused, visible) + 0.6 * _mean_square(fused, infrared)
    assert float(recipe.stages[0].losses(batch)["perceptual"]) == pytest.approx(expected, rel=1e-4)

    recipe = recipe_of("lrrnet", vgg=path)
    features = read(path, convention="byte")
    output = _stretched(recipe.network(_stretched(batch.registered), _stretched(batch.visible)))
    expected = _mean_square(features(output)[0], features(batch.visible)[0])
    assert float(recipe.stages[0].losses(batch)["shallow"]) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("name", "scale"), [("rfvif", 1.0), ("lrrnet", 255.0)])
def test_the_card_says_what_the_perceptual_terms_compare(name, scale):
    recipe = RECIPES[name]
    stands_in = StructureFeatures(scale).describe()
    assert any(stands_in in note for note in recipe.notes(recipe.Settings.from_mapping(NARROW[name])))
    given = recipe.notes(recipe.Settings.from_mapping({"vgg": "vgg16-397923af.pth"}))
    assert any("features of VGG-16 with torchvision's ImageNet weights" in note for note in given)
    assert not any(stands_in in note for note in given)


@pytest.mark.parametrize("name", ["rfvif", "lrrnet"])
def test_a_file_that_is_not_torchvisions_vgg_is_refused_by_name(vgg, name):
    with pytest.raises(WeightsError, match=r"vgg16\.pth: expected a SHA-256 that begins with 397923af"):
        recipe_of(name, vgg=vgg[0])
