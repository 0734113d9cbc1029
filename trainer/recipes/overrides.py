"""What a user changes of a recipe: `--set optimizer.pretrained=1e-4`."""

import re
import typing
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from types import UnionType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from retrieval.errors import LookalikeError
from trainer.recipes.recipe import Recipe

FIXED = ("name", "description", "faults", "fit")
NONE = "none"


def override(recipe: Recipe, assignments: Iterable[str]) -> Recipe:
    """A recipe with some settings changed, and without the faults that lay in them.

    Args:
        recipe: what to start from.
        assignments: each `setting=value`. A part that comes in several kinds is chosen by the name of its kind
            (`schedule=cosine-restarts`); `none` leaves an optional part or number out; commas separate several numbers.

    Raises:
        LookalikeError: no such setting, or a value that it can't have; the message says what can be set.
    """
    changed = recipe
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals:
            raise LookalikeError(f"--set {assignment} sets nothing.", "Write --set SETTING=VALUE.")
        changed = _assign(changed, path.strip().split("."), value.strip(), assignment)
    before, now = settings_of(recipe), settings_of(changed)
    left = [fault for fault in recipe.faults if all(before[path] == now.get(path) for path in fault.settings)]
    return replace(changed, faults=tuple(left))


def settings_of(recipe: Recipe) -> dict[str, str]:
    """All that can be set of a recipe, and how it is: each setting's path with its value as `--set` takes it."""
    return {path: value for path, value in _settings(recipe) if path not in FIXED}


def _settings(part: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    hints = typing.get_type_hints(type(part), include_extras=True)
    for field in fields(part):
        value, path = getattr(part, field.name), f"{prefix}{field.name}"
        if len(_kinds(hints[field.name])) > 1 or not is_dataclass(value):
            yield path, _written(value)
        if is_dataclass(value):
            yield from _settings(value, f"{path}.")


def _assign(part: Any, path: list[str], value: str, assignment: str) -> Any:
    """The part with the setting changed that lies at this path below it."""
    name, *below = path
    hints = typing.get_type_hints(type(part), include_extras=True)
    names = [field.name for field in fields(part) if field.name not in FIXED]
    if name not in names:
        raise LookalikeError(f"--set {assignment}: there is no {name!r} to set.", f"It can be {', '.join(names)}.")
    hint, current = hints[name], getattr(part, name)
    if not below:
        return replace(part, **{name: _parsed(hint, value, assignment)})
    if current is None and len(_kinds(hint)) == 1:
        current = next(iter(_kinds(hint).values()))()
    if not is_dataclass(current):
        raise LookalikeError(f"--set {assignment}: {name} is {_written(current)}.", _remedy(hint))
    return replace(part, **{name: _assign(current, below, value, assignment)})


def _parsed(hint: Any, value: str, assignment: str) -> Any:
    kinds = _kinds(hint)
    if value == NONE and type(None) in typing.get_args(hint):
        return None
    if value in kinds:
        return kinds[value]()
    if not kinds:
        adapter = TypeAdapter(hint)
        several = typing.get_origin(hint) is tuple
        try:
            return adapter.validate_python(value.split(",") if several else value)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise LookalikeError(f"--set {assignment}: {problem[0].lower()}{problem[1:]}.") from None
    raise LookalikeError(f"--set {assignment}: there is no kind {value!r}.", _remedy(hint))


def _kinds(hint: Any) -> dict[str, type]:
    """The parts that a setting can be, by name; none for a number or word."""
    choices = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)
    return {_kind(choice): choice for choice in choices if is_dataclass(choice) and isinstance(choice, type)}


def _remedy(hint: Any) -> str:
    kinds = _kinds(hint)
    if not kinds:
        return "It has no settings of its own."
    return f"It can be set to {', '.join([*kinds, *([NONE] if type(None) in typing.get_args(hint) else [])])}."


def _kind(part: type) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "-", part.__name__).lower()


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
