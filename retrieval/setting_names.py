"""Names of settings that do not exist: a misspelt one is an error, since it would leave, say, a server open."""

import re
from collections.abc import Iterable, Mapping, Sequence

from retrieval.errors import LookalikeError

PREFIX = "LOOKALIKE_"
MAX_EDITS = 3  # of a misspelt name

# Of docker-compose.yml, and of the tests.
OTHER_NAMES = re.compile("LIBRARY|PORT|ADDRESS|TEST_.+")
# What Kubernetes sets for services named lookalike or lookalike-…: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
OF_SERVICES = re.compile("(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_.+)")
SERVICE_URL = re.compile("[a-z]+://")


def unknown_names(variables: Mapping[str, str | None], settings: Iterable[str]) -> list[str]:
    """Return the variables with our prefix that are neither settings nor set by Docker Compose or Kubernetes.

    Args:
        variables: of the environment, in upper case.
        settings: the names of the settings, in upper case, without the prefix.

    Raises:
        LookalikeError: a name resembles that of a setting.
    """
    known = list(settings)
    names = {name.removeprefix(PREFIX): value for name, value in variables.items() if name.startswith(PREFIX)}
    unknown = sorted(name for name, value in names.items() if name not in known and not _is_foreign(name, value))
    meant = {name: setting for name in unknown if (setting := _meant(name, known))}
    if meant:
        raise LookalikeError(
            " ".join(f"There is no setting {PREFIX}{name}; did you mean {PREFIX}{meant[name]}?" for name in meant),
            "Correct or remove it in the environment or in .env.",
        )
    return [f"{PREFIX}{name}" for name in unknown]


def _is_foreign(name: str, value: str | None) -> bool:
    """Whether a name is of Docker Compose, Kubernetes or the tests."""
    is_service = name.endswith("_PORT") and SERVICE_URL.match(value or "")
    return bool(is_service or OTHER_NAMES.fullmatch(name) or OF_SERVICES.fullmatch(name))


def _meant(name: str, settings: Sequence[str]) -> str | None:
    """Return the setting that a name resembles most; None if it resembles none."""
    for setting in settings:
        if _plain(setting) == _plain(name):
            return setting
    edits, setting = min((_edits(name, setting), setting) for setting in settings)
    return setting if edits <= MAX_EDITS else None


def _plain(name: str) -> str:
    """Return a name without underscores and without the plurals of its words."""
    return "".join(word.removesuffix("S") for word in name.split("_"))


def _edits(one: str, other: str) -> int:
    """Return the edit distance (Levenshtein 1966) of two names."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, row = row, [i]
        for j, compared in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != compared)))
    return row[-1]
