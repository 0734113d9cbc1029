"""The map of the collection, and the rooms of those who look after it: jobs and models. Scripts fill them in."""

from flask import render_template, request

from retrieval.photo_ref import is_url
from web.keys import refusal
from web.schemas import API
from web.services import services


def show_map() -> str:
    """All photos, laid out by likeness."""
    return _render("map.html")


def show_jobs() -> str:
    """The jobs: starting, following, ending and repeating them; they index folders, and nothing at URLs."""
    folders = [root for root in services().settings.library_roots if not is_url(root)]
    return _render("jobs.html", folders=folders)


def show_models() -> str:
    """The models with their figures, and which of them serves."""
    return _render("models.html")


def _render(template: str, **more: object) -> str:
    return render_template(template, api=f"{request.script_root}{API}", writable=refusal() is None, **more)
