"""The pages that scripts fill in: map, jobs and models."""

from flask import render_template, request

from retrieval.api_keys import Scope
from retrieval.photo_ref import is_url
from web.keys import offers, sees_uris
from web.schemas import API
from web.services import services


def show_map() -> str:
    """The map of all photos, in which similar photos are close together."""
    return _render("map.html", Scope.WRITE)


def show_jobs() -> str:
    """Jobs: start, follow, cancel and retry them. They can index folders, but not URLs."""
    folders = [root for root in services().settings.library_roots if not is_url(root)]
    return _render("jobs.html", Scope.WRITE, can_index=bool(folders), folders=folders if sees_uris() else [])


def show_models() -> str:
    """The models with their metrics, and which of them is active."""
    return _render("models.html", Scope.ADMIN)


def _render(template: str, scope: Scope, **more: object) -> str:
    """Render a page with the controls that need a scope."""
    return render_template(template, api=f"{request.script_root}{API}", writable=offers(scope), **more)
