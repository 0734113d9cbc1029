"""Patterns of files and folders to exclude, in the syntax of .gitignore (https://git-scm.com/docs/gitignore)."""

from collections.abc import Sequence
from typing import Self

from pathspec import GitIgnoreSpec

from retrieval.errors import BadSource
from retrieval.photo_ref import display

IGNORE_FILE = ".lookalikeignore"


class IgnoreRules:
    """The patterns that apply in a folder: those of the command line, then those of the nearest `.lookalikeignore`.

    As in Git, the last matching pattern of the first list with a match decides, and a file below an excluded folder
    can't be included again.
    """

    def __init__(self, lists: Sequence["_Patterns"] = ()) -> None:
        self._lists = tuple(lists)

    @classmethod
    def of_options(cls, patterns: Sequence[str]) -> Self:
        """The rules of `--exclude` options; raises `BadSource` if a pattern is not valid."""
        return cls([_Patterns("", patterns, "--exclude")] if patterns else [])

    def with_file(self, folder: str, content: str, name: str) -> "IgnoreRules":
        """These rules and those of an ignore file in a folder below them.

        Args:
            folder: the path of its folder relative to the source, empty or with a slash at the end.
            content: the text of the file.
            name: the file, for the error message.

        Raises:
            BadSource: a pattern is not valid.
        """
        of_options = tuple(patterns for patterns in self._lists if patterns.origin == "--exclude")
        of_folders = self._lists[len(of_options) :]
        return IgnoreRules(
            (
                *of_options,
                _Patterns(folder, [line.removesuffix("\r") for line in content.split("\n")], name),
                *of_folders,
            )
        )

    def __bool__(self) -> bool:
        return bool(self._lists)

    def excluding(self, path: str) -> str | None:
        """The pattern that excludes a path relative to the source, that of a folder with a slash at the end."""
        for patterns in self._lists:
            include, pattern = patterns.match(path)
            if include is not None:
                return pattern if include else None
        return None


class _Patterns:
    """A list of patterns relative to a folder."""

    def __init__(self, folder: str, lines: Sequence[str], origin: str) -> None:
        self.origin = origin
        self._start = len(folder)
        self._lines = [line for line in lines if line.strip() and not line.startswith("#")]
        try:
            self._spec = GitIgnoreSpec.from_lines(self._lines)
        except ValueError as error:
            raise BadSource(
                f"A pattern of {display(origin)} is not valid ({display(str(error))}).",
                "Use the syntax of .gitignore.",
            ) from None

    def match(self, path: str) -> tuple[bool | None, str]:
        """Whether the path is excluded, None if no pattern matches, and the pattern that decides."""
        result = self._spec.check_file(path[self._start :])
        return result.include, "" if result.index is None else self._lines[result.index].strip()
