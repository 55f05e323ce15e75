"""Trainings of all recipes that take seconds, for the tests: two pairs, small crops, narrow networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from training.data.pairs import MemoryPair, PairImages, Split
from training.loop import Row, train
from training.recipes import RECIPES, PairRecipe
from training.run_folder import RunFolder

__all__ = ["NARROW", "SHIFTS", "pairs", "recipe_of", "scene", "trained", "write_folders"]

_COMMON: Mapping[str, Any] = MappingProxyType(
    {"crop": 32, "fit": "centre", "flip": False, "batch": 2, "metric_pairs": 0, "tensorboard": False}
)
_FUSER: Mapping[str, Any] = MappingProxyType(
    {"width": 4, "recurrences": 2, "plain_epochs": 0, "statistics_epochs": 2, "statistics_momentum": 0.2}
)
NARROW: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "reconet_fuser": _FUSER,
        "reconet": {**_FUSER, "simulate": "none"},
        "matching_register": {
            "crop": 64,
            "schedule": "constant",
            "pairs_per_epoch": 0,
            "simulate": "none",
            "intensity": 0.0,
            "noise": 0.0,
            "ema_decay": 0.0,
            "register_first": False,
            "scales": (),
            "disguised": 0.0,
            "recognition_weight": 0.5,
            "consistency_weight": 0.0,
            "again": 0.0,
        },
        "rfvif": {"width": 8, "extraction_stages": 1, "simulate": "none"},
        "rfn_nest": {"similarity": "ssim"},
        "lrrnet": {"channels": 8, "blocks": 1},
        "didfuse": {},
        "fused_features": {
            "channels": 8,
            "crop": 64,
            "view": 48,
            "reach": 3,
            "schedule": "constant",
            "pairs_per_epoch": 0,
            "ema_decay": 0.0,
            "backbone_epochs": 1,
            "epochs": 1,
        },
    }
)
"""Recipe -> what makes it small and plain; the width of RFN-Nest, DIDFuse and the matching register is fixed."""
_SIDES = MappingProxyType({"fused_features": 64, "matching_register": 64})  # px of the pairs; 32 otherwise
SHIFTS = ((2.0, -1.0), (-1.0, 2.0))
"""By how many pixels, x first, the infrared images of misaligned :func:`pairs` are off."""


def scene(seed: int, size: tuple[int, int] = (32, 32)) -> np.ndarray:
    """Return a smooth random picture with a bright square in it, uint8 over the whole range."""
    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.random(size), (0, 0), 1.5)
    picture = cv2.normalize(picture, None, 0.0, 1.0, cv2.NORM_MINMAX)
    top, left = rng.integers(0, np.array(size) - 12)
    picture[top : top + 10, left : left + 10] += 0.5
    return cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def pairs(*, misaligned: bool = False, side: int = 32) -> tuple[MemoryPair, ...]:
    """Return two pairs, registered, or off by :data:`SHIFTS` and otherwise alike but for their greys."""
    if not misaligned:
        images = [PairImages(*(scene(2 * n + k, (side, side)) for k in range(2))) for n in range(2)]
    else:
        images = []
        for number, shift in enumerate(SHIFTS):
            wide = scene(number, (side + 8, side + 8))
            x, y = (4 - int(part) for part in shift)
            flow = np.full((side, side, 2), shift, np.float32)
            visible = wide[4 : side + 4, 4 : side + 4]
            images.append(PairImages(255 - wide[y : y + side, x : x + side], visible, flow))
    return tuple(MemoryPair(f"small/{number}", image) for number, image in enumerate(images))


def recipe_of(name: str, *, misaligned: bool = False, **changes: Any) -> PairRecipe:
    """Return a recipe that trains, and validates, on the same two pairs."""
    recipe = RECIPES[name]
    settings = recipe.Settings.from_mapping({**_COMMON, **NARROW[name], "validate_every": 1000, **changes})
    both = pairs(misaligned=misaligned, side=_SIDES.get(name, 32))
    return recipe(settings, Split(both, both))


def trained(recipe: PairRecipe, path: Path) -> list[Row]:
    """Train in a new run folder, and return the history."""
    run = RunFolder(path)
    run.start({"recipe": recipe.name, "small": False, "data": {}, "settings": recipe.settings.flat()})
    return train(recipe, run, recipe.settings)


def write_folders(path: Path, count: int, size: tuple[int, int] = (40, 48)) -> Path:
    """Write pairs as the folders ``ir`` and ``vis``, and return their parent."""
    for folder, first in (("ir", 0), ("vis", 1)):
        (path / folder).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(path / folder / f"{number}.png"), scene(2 * number + first, size))
    return path
