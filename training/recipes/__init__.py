"""Training recipes: one file for one network, named like the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fusion_ros.settings import Settings

from ..loop import Recipe
from .reconet_fuser import ReCoNetFuserRecipe, ReCoNetFuserTraining, describe

__all__ = ["RECIPES", "RecipeSpec"]


@dataclass(frozen=True)
class RecipeSpec:
    """One row of the table of recipes.

    Attributes:
        settings: The settings class; command-line options are made from it.
        build: ``(settings, split) -> Recipe``.
        summary: One line for ``--help``.
        notes: ``(settings) -> statements`` for the card: what was done, and where it leaves the paper.
        fixed_when_published: Settings that must keep their default in weights that are published,
            because the deployed network is built with it.
    """

    settings: type[Settings]
    build: Callable[..., Recipe]
    summary: str
    notes: Callable[..., tuple[str, ...]]
    fixed_when_published: tuple[str, ...]


RECIPES: dict[str, RecipeSpec] = {
    "reconet_fuser": RecipeSpec(
        ReCoNetFuserRecipe,
        ReCoNetFuserTraining,
        "ReCoNet's recurrent fuser on aligned pairs",
        describe,
        ("width", "recurrences"),
    ),
}
"""Recipe name, equal to the network's name -> how to train it."""
