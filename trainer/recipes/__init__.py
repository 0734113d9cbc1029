"""The training recipes by name."""

from retrieval.errors import LookalikeError
from trainer.recipes.components import AdamW, Head, Look, MeanCentred, RandomViews, Stopping
from trainer.recipes.hyperrule import BIT_HYPERRULE
from trainer.recipes.notebooks import NOTEBOOKS
from trainer.recipes.pretrained import PRETRAINED, PretrainedRecipe
from trainer.recipes.recipe import Facts, Recipe

__all__ = ["DEFAULT", "PRETRAINED", "RECIPES", "Facts", "Head", "RandomViews", "Recipe", "recipe_named"]

DEFAULT = Recipe(
    name="default",
    description="Head first, then fine-tuning of upper layers; semi-hard triplets, class proxies, MixUp, model soup",
    look=Look(),
    mixup=0.4,
    rounds=3,
    stopping=Stopping(patience=8),
)

NEW_CLASSES = Recipe(
    name="new-classes",
    description="For classes without training photos: mean-centred features, fine-tuned for a few steps",
    dimension=512,
    mixup=0.4,
    head=MeanCentred(),
    optimizer=AdamW(pretrained=1e-4, fresh=4e-3),
    head_first=None,
    epochs=4,
    steps_per_epoch=10,
    stopping=Stopping(patience=None, keep="last"),
)

RECIPES = {recipe.name: recipe for recipe in (DEFAULT, NEW_CLASSES, BIT_HYPERRULE, *NOTEBOOKS)}


def recipe_named(name: str) -> Recipe | PretrainedRecipe:
    """Return the recipe of that name, one of `RECIPES` or `PRETRAINED`; raise `LookalikeError` if there is none."""
    recipes: dict[str, Recipe | PretrainedRecipe] = {**RECIPES, PRETRAINED.name: PRETRAINED}
    if name not in recipes:
        raise LookalikeError(f"There is no recipe {name!r}.", f"Choose one of {', '.join(recipes)}.")
    return recipes[name]
