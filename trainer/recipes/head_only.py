"""Recipes for a network that can't be trained, on which only a head is trained."""

from collections.abc import Iterable

from retrieval.errors import LookalikeError
from trainer.recipes import DEFAULT
from trainer.recipes.components import Preparation
from trainer.recipes.overrides import override
from trainer.recipes.pretrained import PretrainedRecipe
from trainer.recipes.recipe import Recipe

OF_DEFAULT = ("learns=head",)


def head_only_changes(recipe: Recipe | PretrainedRecipe, changes: Iterable[str]) -> list[str]:
    """Return the settings to change, so that the recipe `default` trains a head alone; those of the user come last.

    Raises `LookalikeError` as `check_head_only`.
    """
    all_changes = [*(OF_DEFAULT if recipe is DEFAULT else ()), *changes]
    check_head_only(override(recipe, all_changes))
    return all_changes


def check_head_only(recipe: Recipe | PretrainedRecipe) -> None:
    """Raise `LookalikeError` if a recipe trains more than a head, or changes how photos are prepared."""
    if isinstance(recipe, PretrainedRecipe):
        raise LookalikeError(
            f"The recipe {recipe.name} trains nothing, and the bundle of an imported network can be used as it is.",
            "Use --recipe default, which trains a head on it.",
        )
    if recipe.learns != "head":
        raise LookalikeError(
            f"The recipe {recipe.name} trains the layers of the network, and those of a bundle can't be trained.",
            "Use --recipe default, which trains a head on it, or add --set learns=head.",
        )
    if recipe.preparation != Preparation():
        raise LookalikeError(
            f"The recipe {recipe.name} changes the preparation of photos, which is part of the bundle.",
            "Use --recipe default, and leave out --set preparation.",
        )
