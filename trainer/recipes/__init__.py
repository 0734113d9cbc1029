"""The recipes by name."""

from retrieval.errors import LookalikeError
from trainer.recipes.hyperrule import BIT_HYPERRULE
from trainer.recipes.notebooks import NOTEBOOKS
from trainer.recipes.parts import Head, RandomViews
from trainer.recipes.recipe import Facts, Recipe

__all__ = ["DEFAULT", "RECIPES", "Facts", "Head", "RandomViews", "Recipe", "recipe_named"]

DEFAULT = Recipe(
    name="default",
    description="Head first, then the backbone's upper part; semi-hard triplets and class proxies, P×K batches",
)

RECIPES = {recipe.name: recipe for recipe in (DEFAULT, BIT_HYPERRULE, *NOTEBOOKS)}


def recipe_named(name: str) -> Recipe:
    """The recipe of that name; raises `LookalikeError` where there is none."""
    if name not in RECIPES:
        raise LookalikeError(f"There is no recipe {name!r}.", f"Choose one of {', '.join(RECIPES)}.")
    return RECIPES[name]
