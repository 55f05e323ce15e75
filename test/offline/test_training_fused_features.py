"""Training of fused features: views whose motion is exact, and two stages of which each trains its own part."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small_trainings import recipe_of, trained
from torch import Tensor

from fusion_ros.cli.main import main
from fusion_ros.errors import SettingsError, WeightsError
from fusion_ros.weights import load_network
from training.data.views import Motion, ViewSettings, drawn_motion, drawn_views, views_of
from training.losses.lrrnet_tracking import lrrnet_tracking_loss
from training.losses.rfn_tracking import rfn_tracking_loss
from training.publish import Publication, publish
from training.recipes import RECIPES
from training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE, VIEW = 96, 64
STILL = {"zoom": 1.0, "turn": 0.0, "noise": 0.0, "occluded": 0.0, "elsewhere": 0.0, "view": VIEW}
LEARNING = {"backbone_epochs": 3, "epochs": 4, "pairs_per_epoch": 24, "learning_rate": 5e-3}


def _blobs(places: Tensor) -> Tensor:
    """One smooth spot at each place ``(B, 2)``, x first, in images of their own: ``(B, 1, SIDE, SIDE)``."""
    rows, columns = torch.arange(SIDE)[:, None], torch.arange(SIDE)
    return torch.stack([torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18) for x, y in places])[:, None]


def _middles(images: Tensor) -> Tensor:
    """Centroids ``(B, 2)`` of one spot in each image, x first."""
    weights = images[:, 0] / images[:, 0].sum((1, 2), keepdim=True)
    along = torch.arange(images.shape[-1], dtype=weights.dtype)
    return torch.stack([(weights.sum(1) * along).sum(1), (weights.sum(2) * along).sum(1)], dim=1)


def _scenes(count: int = 6) -> tuple[Tensor, Tensor]:
    """Infrared and visible scenes of black and white blocks of 8 px."""
    generator = torch.Generator().manual_seed(1)
    blocks = torch.rand(2, count, 1, SIDE // 8, SIDE // 8, generator=generator).round()
    return tuple(blocks.repeat_interleave(8, dim=-1).repeat_interleave(8, dim=-2))


def _drawn(degraded: float = 0.0, seed: int = 0, count: int = 6, **changes: float):
    settings = ViewSettings.from_mapping({**STILL, **changes})
    return drawn_views(*_scenes(count), settings, 4, degraded, torch.Generator().manual_seed(seed))


# --- geometry ---


@pytest.mark.parametrize("offset", [(0.0, 0.0), (9.0, -4.0)])
def test_a_point_of_the_target_moves_where_the_motion_says(offset):
    motion = Motion(
        displacement=torch.tensor([[0.0, 0.0], [7.3, -5.0], [-11.0, 4.6], [3.0, 8.0]]),
        angle=torch.tensor([0.0, 0.0, math.radians(30), math.radians(-8)]),
        scale=torch.tensor([1.0, 1.0, 1.0, 1.18]),
    )
    offset = torch.tensor(offset)
    target = (SIDE - 1) / 2 + motion.displacement / 2
    views = views_of(_blobs(target + offset), motion, VIEW)
    middle = (VIEW - 1) / 2
    torch.testing.assert_close(_middles(views.template), middle + offset.expand(4, 2), atol=0.02, rtol=0)
    cos, sin = torch.cos(motion.angle) * motion.scale, torch.sin(motion.angle) * motion.scale
    # A positive angle turns x towards y, which points down.
    turned = torch.stack([cos * offset[0] - sin * offset[1], sin * offset[0] + cos * offset[1]], dim=1)
    torch.testing.assert_close(_middles(views.search), middle + motion.displacement + turned, atol=0.02, rtol=0)


def test_a_target_that_grows_is_larger_in_the_search_view():
    motion = Motion(torch.zeros(1, 2), torch.zeros(1), torch.tensor([1.5]))
    views = views_of(_blobs(torch.full((1, 2), (SIDE - 1) / 2)), motion, VIEW)
    assert float(views.search.sum() / views.template.sum()) == pytest.approx(1.5**2, rel=1e-2)


def test_both_cameras_have_one_geometry():
    infrared, _ = _scenes()
    motion = drawn_motion(6, ViewSettings(view=VIEW), 4, infrared.device)
    views = views_of(torch.cat([infrared, infrared], dim=1), motion, VIEW)
    for view in (views.template, views.search):
        assert torch.equal(view[:, 0], view[:, 1])


def test_motions_fill_their_bounds_and_do_not_leave_them():
    settings = ViewSettings(reach=5, zoom=1.2, turn=10.0)
    motion = drawn_motion(2000, settings, 4, torch.device("cpu"), torch.Generator().manual_seed(0))
    largest = [float(part.abs().max()) for part in (motion.displacement, motion.angle, motion.scale.log())]
    bounds = [20.0, math.radians(10.0), math.log(1.2)]
    assert all(0.99 * bound < value <= bound for value, bound in zip(largest, bounds, strict=True))
    assert motion.displacement.mean(0).abs().max() < 1.0


# --- greys ---


def test_a_seed_decides_the_views():
    first, again, other = (_drawn(degraded=0.5, seed=seed, occluded=0.5, noise=0.1) for seed in (3, 3, 4))
    assert torch.equal(first.template, again.template) and torch.equal(first.search, again.search)
    assert torch.equal(first.motion.displacement, again.motion.displacement)
    assert not torch.equal(first.motion.displacement, other.motion.displacement)


def test_cameras_and_views_change_independently_and_stay_in_range():
    grey = 0.3 + 0.4 * _scenes()[0]
    settings = ViewSettings.from_mapping({**STILL, "reach": 0})
    views = drawn_views(grey, grey, settings, 4, 0.0, torch.Generator().manual_seed(0))
    seen = [view[:, camera] for view in views[:2] for camera in (0, 1)]
    assert all(0 <= images.min() and images.max() <= 1 for images in seen)
    for number, images in enumerate(seen):
        for others in seen[:number]:
            assert (images - others).abs().mean((1, 2)).min() > 0.005


def test_one_camera_of_a_degraded_scene_has_no_contrast_left_near_black_or_white():
    views = _drawn(degraded=1.0, count=40)
    contrast = views.search.std((2, 3))
    blind = contrast < 0.06
    assert (blind.sum(dim=1) == 1).all()  # one camera, never both
    assert 8 < blind[:, 0].sum() < 32
    level = views.search.mean((2, 3))[blind]
    assert ((level < 0.2) | (level > 0.8)).all()
    assert (level < 0.2).any() and (level > 0.8).any()
    before = views.template.std((2, 3)) < 0.06
    assert not (before & ~blind).any()  # none fails in the template alone
    assert 8 < before.sum() < 32  # and half of them only after it


def test_a_patch_hides_the_same_place_from_both_cameras():
    plain, hidden = _drawn(occluded=0.0), _drawn(occluded=1.0)
    changed = plain.search != hidden.search
    assert torch.equal(changed[:, 0], changed[:, 1])
    share = changed[:, 0].float().mean((1, 2))
    assert (share > 0.15**2 * 0.9).all() and (share < 0.4**2 * 1.1).all()
    assert torch.equal(plain.template, hidden.template)


def test_elsewhere_the_target_is_left_and_its_surroundings_are_the_next_scenes():
    # Flat scenes of known greys tell what comes from where.
    flat = torch.linspace(0.2, 0.8, 4).reshape(4, 1, 1, 1).expand(4, 1, SIDE, SIDE)
    elsewhere, own = (
        drawn_views(
            flat,
            flat,
            ViewSettings.from_mapping({**STILL, "elsewhere": share}),
            4,
            0.0,
            torch.Generator().manual_seed(0),
        ).search[:, 0]
        for share in (1.0, 0.0)
    )
    motion = drawn_motion(4, ViewSettings.from_mapping(STILL), 4, flat.device, torch.Generator().manual_seed(0))
    for number, moved in enumerate(motion.displacement):
        column, row = ((VIEW - 1) / 2 + moved).round().int().tolist()
        near = slice(max(0, row - 5), row + 6), slice(max(0, column - 5), column + 6)
        torch.testing.assert_close(elsewhere[number][near], own[number][near], atol=1e-5, rtol=0)
        corner = (0 if row > VIEW / 2 else -1, 0 if column > VIEW / 2 else -1)
        assert (elsewhere[number][corner] - own[number][corner]).abs() > 0.05


# --- the recipe ---


def _state(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _is_same(module: torch.nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_the_backbone_learns_to_find_and_then_the_head_behind_it(tmp_path):
    history = trained(recipe_of("fused_features", **LEARNING, validate_every=1), tmp_path)
    backbone = [row for row in history if row["stage"] == "backbone"]
    assert backbone[-1]["train_total"] < 0.8 * backbone[0]["train_total"]
    head = [row for row in history if row["stage"] == "head"]
    assert head[-1]["train_total"] < 0.8 * head[0]["train_total"]
    shares = [
        row[f"validation_hits_{name}"] for row in history for name in ("infrared", "visible", "sum", "fused")
    ]
    assert all(0 <= share <= 1 for share in shares)


def test_each_stage_changes_its_own_part_alone(tmp_path):
    recipe = recipe_of("fused_features")
    network, seen = recipe.network, {}
    for stage in recipe.stages:
        prepare = stage.prepare

        def note(epoch: int, name: str = stage.name, prepare=prepare) -> None:
            seen[name] = _state(network)
            prepare(epoch)

        object.__setattr__(stage, "prepare", note)
    trained(recipe, tmp_path)
    between = seen["head"]
    assert {name for name, tensor in between.items() if not torch.equal(tensor, seen["backbone"][name])} == {
        name for name in between if name.startswith("backbone.")
    }
    after = _state(network)
    assert {name for name, tensor in after.items() if not torch.equal(tensor, between[name])} == {
        name for name in between if name.startswith("head.")
    }


@pytest.mark.parametrize(
    ("head", "paper", "size"), [("rfn", rfn_tracking_loss, 1e-3), ("lrrnet", lrrnet_tracking_loss, 0.05)]
)
def test_a_head_is_trained_with_its_papers_loss_the_tracking_loss_or_both(head, paper, size, monkeypatch):
    recipes = {
        kind: recipe_of("fused_features", head=head, head_loss=kind, paper_weight=0.3)
        for kind in ("paper", "tracking", "both")
    }
    batch = next(iter(recipes["both"].stages[1].batches.epoch(1)))
    losses, given = {}, []
    recipes["both"].network.head.register_forward_hook(lambda _, images, fused: given.append((fused, *images)))
    for kind, recipe in recipes.items():
        torch.manual_seed(5)
        losses[kind] = recipe.stages[1].losses(batch)
    assert "paper" not in losses["tracking"]
    both = losses["both"]
    torch.testing.assert_close(losses["paper"]["total"], both["paper"])
    torch.testing.assert_close(losses["tracking"]["total"], both["tracking"])
    torch.testing.assert_close(both["total"], both["tracking"] + 0.3 * both["paper"])
    fused, infrared, visible = (torch.cat(maps) for maps in zip(*given, strict=True))
    torch.testing.assert_close(both["paper"], size * paper([fused], [infrared], [visible]).total)


def test_cross_camera_terms_count_by_their_weight():
    plain, crossed = (recipe_of("fused_features", cross_weight=weight) for weight in (0.0, 0.5))
    batch = next(iter(plain.stages[0].batches.epoch(1)))
    rows = []
    for recipe in (plain, crossed):
        torch.manual_seed(2)
        rows.append(recipe.stages[0].losses(batch))
    assert "cross" not in rows[0]
    torch.testing.assert_close(rows[1]["total"], rows[0]["total"] + 0.5 * rows[1]["cross"])


def _published(folder: Path) -> Path:
    """A model of fused features, trained a little."""
    trained(recipe_of("fused_features"), folder / "run")
    return publish(RunFolder(folder / "run"), Publication("begun", "CC0-1.0", "drawings"), folder)


def test_the_head_alone_is_trained_behind_the_backbone_of_a_model(tmp_path):
    model = _published(tmp_path)
    backbone = _state(load_network(model).backbone)
    second = recipe_of("fused_features", head="lrrnet", start=str(model), seed=7)
    head = _state(second.network.head)
    assert {row["stage"] for row in trained(second, tmp_path / "second")} == {"head"}
    assert _is_same(second.network.backbone, backbone)
    assert not _is_same(second.network.head, head)
    assert "The backbone is that of the model" in " ".join(second.notes(second.settings))


def test_a_model_without_such_a_backbone_is_refused(tmp_path):
    model = _published(tmp_path)
    with pytest.raises(WeightsError, match=r"no such backbone.*give another model, or its --channels"):
        recipe_of("fused_features", channels=12, start=str(model))
    with pytest.raises(WeightsError, match="reconet has no such backbone"):
        recipe_of("fused_features", start="reconet")


def test_validation_is_the_same_whenever_it_is_done():
    recipe = recipe_of("fused_features")
    first = recipe.validate(recipe.stages[1])
    torch.rand(7)
    assert recipe.validate(recipe.stages[0]) == first


def test_pictures_show_both_views_of_both_cameras():
    recipe = recipe_of("fused_features")
    (picture,) = recipe.pictures(recipe.stages[0]).values()
    assert picture.shape == (2 * 48, 2 * 48) and picture.dtype == np.uint8


def test_what_was_trained_can_be_published_loaded_and_exported_but_not_measured_as_an_image(tmp_path, capsys):
    recipe = recipe_of("fused_features", head="lrrnet")
    trained(recipe, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    publication = Publication(name="mine", licence="CC0-1.0", trained_on="drawings")
    model = publish(run, publication, tmp_path)
    adding = Publication("adding", "CC0-1.0", "drawings", network={"fusion": "sum"})
    assert load_network(publish(run, adding, tmp_path)).settings.fusion == "sum"
    network = load_network(model)
    assert (network.settings.channels, network.settings.head) == (8, "lrrnet")
    image = _scenes()[0]
    torch.testing.assert_close(network(image, image), recipe.network.eval()(image, image))
    out = tmp_path / "mine.pt2"
    assert main(["export", str(model), "--out", str(out), "--static", "--size", "70x48"]) == 0
    said = capsys.readouterr().out
    assert "takes infrared and visible: float32 (1, 1, 48, 70), values in [0, 1]" in said
    assert "gives features: float32 (1, 8, 12, 17), a feature map" in said
    with pytest.raises(SettingsError, match=r"--test: .* fused features gives features; leave it out"):
        publish(run, Publication("other", "CC0-1.0", "drawings", tests=("folders=a,b",)), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"view": 130}, "view: expected a multiple of 4 px of at most the crop, 160 px, got 130; take 128"),
        ({"view": 192}, "got 192; take 160"),
        ({"reach": 16}, "reach: expected less than half of a view, 16 cells, got 16"),
    ],
)
def test_views_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        RECIPES["fused_features"].Settings.from_mapping(changes)
