"""The pages that scripts fill in: jobs and models."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from flask import render_template, request

from retrieval.api_keys import Scope
from web.keys import offers, sees_uris
from web.schemas.fields import API
from web.services import services

MOST_FOLDERS = 200  # that the page of jobs offers


def show_jobs() -> str:
    """Jobs: start, follow, cancel and retry them. They can index folders, but not URLs."""
    library = services().library
    folders = library.folders()
    can_index = bool(folders) or (library.is_open and offers(Scope.ADMIN))
    shown = list(islice(_with_folders_below(folders), MOST_FOLDERS)) if sees_uris() else []
    return _render("jobs.html", Scope.WRITE, can_index=can_index, folders=shown)


def show_models() -> str:
    """The models with their metrics, and which of them is active."""
    return _render("models.html", Scope.ADMIN)


def _with_folders_below(roots: Sequence[Path]) -> Iterator[Path]:
    """Yield each root and the folders in it, sorted by name, without hidden ones."""
    for root in roots:
        yield root
        with suppress(OSError), os.scandir(root) as entries:
            yield from sorted(Path(entry) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _render(template: str, scope: Scope, **more: object) -> str:
    """Render a page with the controls that need a scope."""
    has_model = services().serving.model is not None
    api = f"{request.script_root}{API}"
    return render_template(template, api=api, writable=offers(scope), has_model=has_model, **more)
