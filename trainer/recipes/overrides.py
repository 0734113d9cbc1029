"""Changes to the settings of a recipe: `--set optimizer.pretrained=1e-4`."""

import re
import typing
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from types import UnionType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from retrieval.errors import LookalikeError
from trainer.recipes.pretrained import PretrainedRecipe
from trainer.recipes.recipe import Recipe

AnyRecipe = typing.TypeVar("AnyRecipe", bound=Recipe | PretrainedRecipe)

FIXED = ("name", "description", "faults", "fit")
NONE = "none"


def override(recipe: AnyRecipe, assignments: Iterable[str]) -> AnyRecipe:
    """Return a recipe with changed settings, without the faults that the changes fix.

    Each assignment is `setting=value`. A component with several kinds is chosen by kind (`schedule=cosine-restarts`);
    `none` clears an optional component or number; commas separate several numbers.

    Raises:
        LookalikeError: the setting does not exist or does not accept the value; the message lists what it accepts.
    """
    changed = recipe
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals:
            raise LookalikeError(f"--set {assignment} sets nothing.", "Write --set SETTING=VALUE.")
        changed = _assign(changed, path.strip().split("."), value.strip(), assignment)
    before, after = settings_of(recipe), settings_of(changed)
    unfixed = [fault for fault in recipe.faults if all(before[path] == after.get(path) for path in fault.settings)]
    return replace(changed, faults=tuple(unfixed))


def settings_of(recipe: Recipe | PretrainedRecipe) -> dict[str, str]:
    """Return all settings of a recipe: the path of each setting with its value, both as `--set` takes them."""
    return {path: value for path, value in _settings(recipe) if path not in FIXED}


def _settings(component: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    hints = typing.get_type_hints(type(component), include_extras=True)
    for field in fields(component):
        value, path = getattr(component, field.name), f"{prefix}{field.name}"
        if len(_kinds(hints[field.name])) > 1 or not is_dataclass(value):
            yield path, _written(value)
        if is_dataclass(value):
            yield from _settings(value, f"{path}.")


def _assign(component: Any, path: list[str], value: str, assignment: str) -> Any:
    """Return the component with the setting at `path` changed; `assignment` is quoted in error messages."""
    name, *below = path
    hints = typing.get_type_hints(type(component), include_extras=True)
    names = [field.name for field in fields(component) if field.name not in FIXED]
    if name not in names:
        raise LookalikeError(f"--set {assignment}: there is no {name!r} to set.", f"It can be {', '.join(names)}.")
    hint, current = hints[name], getattr(component, name)
    if not below:
        return replace(component, **{name: _parsed(hint, value, assignment)})
    if current is None and len(_kinds(hint)) == 1:
        current = next(iter(_kinds(hint).values()))()
    if not is_dataclass(current):
        raise LookalikeError(f"--set {assignment}: {name} is {_written(current)}.", _remedy(hint))
    return replace(component, **{name: _assign(current, below, value, assignment)})


def _parsed(hint: Any, value: str, assignment: str) -> Any:
    kinds = _kinds(hint)
    if value == NONE and type(None) in typing.get_args(hint):
        return None
    if value in kinds:
        return kinds[value]()
    if kinds:
        raise LookalikeError(f"--set {assignment}: there is no kind {value!r}.", _remedy(hint))
    several = typing.get_origin(hint) is tuple
    try:
        return TypeAdapter(hint).validate_python(value.split(",") if several else value)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise LookalikeError(f"--set {assignment}: {problem[0].lower()}{problem[1:]}.") from None


def _kinds(hint: Any) -> dict[str, type]:
    """The components that a setting accepts, by kind; empty for numbers and words."""
    choices = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)
    return {_kind(choice): choice for choice in choices if is_dataclass(choice) and isinstance(choice, type)}


def _remedy(hint: Any) -> str:
    kinds = _kinds(hint)
    if not kinds:
        return "It has no settings below it."
    return f"It can be set to {', '.join([*kinds, *([NONE] if type(None) in typing.get_args(hint) else [])])}."


def _kind(component: type) -> str:
    """The name of a component in `--set`: its `kind`, or the name of its class in kebab case."""
    named: str | None = getattr(component, "kind", None)
    return named or re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "-", component.__name__).lower()


def _written(value: Any) -> str:
    if value is None:
        return NONE
    if is_dataclass(value):
        return _kind(type(value))
    if isinstance(value, tuple):
        return ",".join(map(_written, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
