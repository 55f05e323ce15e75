"""Settings of the recipes: the papers' by default, small variants that are allowed, documents that agree."""

from __future__ import annotations

import argparse

import pytest

from fusion_ros.errors import SettingsError
from tools import training_docs
from training.options import add_settings, given_settings
from training.recipes import RECIPES

# What the papers say of training; where a paper is silent, what its authors' code does (marked: code).
PAPERS = {
    # ReCoNet, section 3.1: 300 epochs of both networks jointly, Adam 0.001, lambda 0.6, gamma 0.28, eta 0.78.
    "reconet": {
        "joint_epochs": 300,
        "epochs": 0,
        "register_epochs": 0,
        "learning_rate": 1e-3,
        "fusion_share": 0.6,
        "gamma": 0.28,
        "eta": 0.78,
        "brightness": 1.0,  # equation 5 prefers neither source
        "recurrences": 3,  # code, and so the width
        "width": 64,
        "inputs": 2,  # the 0.209 M parameters of table 3
        "register": "micro",
    },
    "reconet_fuser": {"epochs": 300, "learning_rate": 1e-3, "gamma": 0.28, "width": 64, "recurrences": 3},
    # RFVIF, sections 3.6 and 4.1: 120 epochs, Adam 0.001, a tenth every 40, batch 8, 128 px; equations 16 to 18.
    "rfvif": {
        "epochs": 120,
        "learning_rate": 1e-3,
        "schedule": "steps",
        "batch": 8,
        "crop": 128,
        "fit": "crop",
        "infrared_share": 0.5,
        "perceptual_share": 0.6,
        "alignment_weight": 0.3,
        "simulate": "translation:8",  # section 4.4 tests shifts of 3, 5 and 8 px
    },
    # RFN-Nest, section 3.2: both stages 2 epochs, Adam 1e-4, batch 4, 256 px; alpha 700, w_ir 6, w_vi 3.
    "rfn_nest": {
        "strategy": "two_stage",
        "auto_encoder_epochs": 2,
        "epochs": 2,
        "learning_rate": 1e-4,
        "schedule": "constant",
        "batch": 4,
        "crop": 256,
        "fit": "resize_nearest",  # code
        "detail_weight": 700.0,
        "infrared_share": 6.0,
        "visible_share": 3.0,
    },
    # LRRNet, sections 4.2 and 5.1: 4 epochs, Adam 1e-5, batch 8, 128 x 128, gamma_4 2000, w_ir 3, w_vi 0.5.
    "lrrnet": {
        "epochs": 4,
        "learning_rate": 1e-5,
        "schedule": "constant",
        "weight_decay": 0.9,  # code
        "batch": 8,
        "crop": 128,
        "fit": "resize",
        "paper_weight": 1.0,
        "deep_weight": 2000.0,
        "infrared_share": 3.0,
        "visible_share": 0.5,
        "channels": 128,
        "blocks": 4,
    },
    # DIDFuse, section 4.1 of the conference version: 120 epochs, Adam 1e-3, a tenth every 40, batch 24, 128 px.
    "didfuse": {
        "epochs": 120,
        "learning_rate": 1e-3,
        "schedule": "steps",
        "batch": 24,
        "crop": 128,
        "fusion": "sum",
    },
}
OURS = ("gradient_weight", "structure_weight", "intensity_weight", "contrast_weight", "correlation_weight")


def test_all_recipes_but_two_of_ours_follow_a_paper():
    assert PAPERS.keys() == RECIPES.keys() - {"matching_register", "fused_features"}


@pytest.mark.parametrize("name", PAPERS)
def test_the_defaults_are_the_papers(name):
    defaults = RECIPES[name].Settings().flat()
    assert {setting: defaults[setting] for setting in PAPERS[name]} == PAPERS[name]
    assert not any(defaults[setting] for setting in (*OURS, "intensity", "ema_decay", "clip_norm"))
    if name != "rfvif" and name != "reconet":
        assert defaults["simulate"] == "none"


@pytest.mark.parametrize("name", RECIPES)
def test_the_small_variant_changes_settings_that_exist_to_values_that_are_allowed(name):
    recipe = RECIPES[name]
    defaults, small = recipe.Settings(), recipe.Settings.from_mapping(recipe.SMALL)
    same = [key for key in recipe.SMALL if small.flat()[key] == defaults.flat()[key]]
    # The joint recipe repeats what its own default already is, for it inherits the fuser's small variant.
    assert same == (["epochs"] if name == "reconet" else [])


@pytest.mark.parametrize(("crop", "near"), [(68, "take 64 or 72"), (143, "take 136 or 144")])
def test_crops_that_the_matching_register_cannot_halve_thrice_are_refused(crop, near):
    with pytest.raises(SettingsError, match=f"crop: expected a multiple of 8 px, got {crop}; {near}"):
        RECIPES["matching_register"].Settings(crop=crop)
    assert RECIPES["matching_register"].Settings(crop=72).crop == 72


def test_the_documented_settings_are_those_of_the_recipes():
    page = training_docs.PAGE.read_text(encoding="utf-8")
    assert training_docs.render(page) == page
    tables = training_docs.tables()
    for name, recipe in RECIPES.items():
        both = tables["shared"] + tables[name]
        assert all(f"| `{setting}` |" in both for setting in recipe.Settings.describe())
    with pytest.raises(ValueError, match="expected one <!-- settings:shared -->"):
        training_docs.render("")


def test_a_list_is_given_as_numbers_after_its_option():
    parser = argparse.ArgumentParser()
    add_settings(parser, RECIPES["matching_register"].Settings)
    for words, scales in ((["--scales", "0.5", "2"], (0.5, 2.0)), (["--scales"], ())):
        given = given_settings(parser.parse_args(words))
        assert RECIPES["matching_register"].Settings.from_mapping(given).scales == scales
