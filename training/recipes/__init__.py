"""Training recipes: one file for one method."""

from __future__ import annotations

from .didfuse import DIDFuseRecipe
from .fused_features import FusedFeaturesRecipe
from .lrrnet import LRRNetRecipe
from .matching_register import MatchingRegisterRecipe
from .pair_recipe import PairRecipe
from .reconet import ReCoNetFuserRecipe, ReCoNetRecipe
from .rfn_nest import RFNNestRecipe
from .rfvif import RFVIFRecipe
from .settings import TrainingSettings

__all__ = ["RECIPES", "PairRecipe", "TrainingSettings"]

RECIPES: dict[str, type[PairRecipe]] = {
    recipe.name: recipe
    for recipe in (
        ReCoNetFuserRecipe,
        ReCoNetRecipe,
        MatchingRegisterRecipe,
        RFVIFRecipe,
        RFNNestRecipe,
        LRRNetRecipe,
        DIDFuseRecipe,
        FusedFeaturesRecipe,
    )
}
"""Recipe name, equal to the network's name -> how to train it."""
