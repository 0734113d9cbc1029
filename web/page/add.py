"""The page that adds photos: choose a folder of the server, or upload some. It is the start page of an empty index."""

import os
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from flask import redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from indexer.first_model import can_make_model
from indexer.model_registry import installed
from retrieval import formats
from retrieval.api_keys import Scope
from retrieval.errors import BadBundle, BadQuery, BadSource, LookalikeError, NoModel
from retrieval.photo_ref import display
from web.api.jobs import start_indexing
from web.api.models import install_model
from web.keys import current, may, require_writing
from web.large_file import MAX_BUNDLE_MB, expect_large_file
from web.schemas.fields import API
from web.schemas.jobs import IndexJob
from web.services import services
from web.validation import check_fields

MOST_FOLDERS = 500  # that are listed in one folder
MOST_ENTRIES = 20_000  # of a folder that are counted
PRETRAINED = "pretrained"  # the choice to make a model of the installed network


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the server."""

    path: Path
    name: str

    @property
    def link(self) -> str:
        """The URL of the page that shows what is in it."""
        return url_for("page.add", folder=self.path)


@dataclass(frozen=True, slots=True)
class Listing:
    """What the page shows of a folder of the server."""

    path: Path
    parent: Folder | None  # None if it is not in the library
    folders: list[Folder]
    more: int  # folders that are not listed
    photos: int  # files in the folder itself that may be photos
    is_chosen: bool  # False for the user's home folder, in which the choice of another folder starts

    @property
    def shown_path(self) -> str:
        """Its path as one printable line."""
        return display(self.path)


def show() -> str:
    """Add photos."""
    return _page()


def show_first() -> str:
    """Add photos, as the start page of a server that has none."""
    return _page(is_first=True)


def start() -> Response:
    """Start a job for a folder of the server, and show the jobs."""
    require_writing(Scope.WRITE)
    model = request.form.get("model", "")
    folder = request.form.get("folder", "")
    fields = MultiDict({"sources": folder})
    if not _has_folders(folder):  # the label of all photos would be the name of the folder
        fields["label_from"] = "none"
    if model == PRETRAINED:
        fields["pretrained"] = "true"
    elif model:
        fields["model"] = model
    try:
        start_indexing(check_fields(IndexJob, fields))
    except BadQuery as error:
        raise BadSource(error.message, error.remedy) from None
    return redirect(url_for("page.jobs"), 303)


def install() -> Response:
    """Install an uploaded model, and show the page again."""
    require_writing(Scope.ADMIN)
    expect_large_file()
    sent = request.files.get("bundle")
    if sent is None or not sent.filename:
        raise BadBundle("No bundle was uploaded.", "Choose a ZIP archive.")
    install_model(sent.stream)
    return redirect(url_for("page.add"), 303)


def _page(*, is_first: bool = False) -> str:
    served, needs_model = services(), _needs_model()
    can_make = can_make_model(served.settings)
    models = sorted(installed(served.settings)) if needs_model and served.settings.bundle is None else []
    return render_template(
        "add.html",
        api=f"{request.script_root}{API}",
        is_first=is_first,
        read_only=served.settings.read_only,
        key=current(),
        allowed=may(Scope.ADMIN if needs_model else Scope.WRITE),
        needs_model=needs_model and served.settings.bundle is None,
        can_make=can_make,
        models=models,
        max_bundle_mb=MAX_BUNDLE_MB,
        pretrained=PRETRAINED,
        listing=_listing(),
        max_upload_mb=served.settings.max_upload_mb,
        holds_index=not needs_model and not served.store.allows_many_processes,
        url=request.url_root.rstrip("/"),
    )


def _has_folders(path: str) -> bool:
    with suppress(OSError, ValueError), os.scandir(path) as entries:
        return any(entry.is_dir() and not entry.name.startswith(".") for entry in entries)
    return False


def _needs_model() -> bool:
    """Whether there is no model to search with; one without photos suffices."""
    try:
        services().searcher  # noqa: B018 - opens it
    except NoModel:
        return True
    return False


def _listing() -> Listing | None:
    """The folder that the page names, or the first one of the library; None if the request may not see it."""
    library = services().library
    roots = library.folders()
    any_folder = library.is_open and may(Scope.ADMIN)
    if not may(Scope.WRITE) or not (roots or any_folder):
        return None
    named = request.values.get("folder")
    chosen = named or str(roots[0] if roots else Path.home())
    try:
        path = Path(library.source(chosen, any_folder=any_folder))
    except LookalikeError:
        path = roots[0] if roots else Path("/")
    return _list(path if path.is_dir() else path.parent, roots, any_folder, is_chosen=bool(named or roots))


def _list(path: Path, roots: list[Path], any_folder: bool, *, is_chosen: bool) -> Listing:
    found: list[Path] = []
    photos = 0
    with suppress(OSError), os.scandir(path) as entries:
        for entry in islice(entries, MOST_ENTRIES):
            if not entry.name.startswith("."):
                if entry.is_dir():
                    found.append(Path(entry))
                elif formats.by_file_name(entry.name):
                    photos += 1
    others = [root for root in roots if root != path and not path.is_relative_to(root)] if path in roots else []
    folders = [Folder(one, display(one.name)) for one in sorted(found)[:MOST_FOLDERS]]
    folders += [Folder(root, display(root)) for root in others]
    is_below = any_folder or any(path.parent.is_relative_to(root) for root in roots)
    parent = Folder(path.parent, display(path.parent)) if is_below and path != path.parent else None
    return Listing(path, parent, folders, max(0, len(found) - MOST_FOLDERS), photos, is_chosen)
