"""The map of the collection, and the rooms of those who look after it."""

from flask import render_template

from web.schemas import API


def show_map() -> str:
    """All photos, laid out by likeness; a script draws what the API computed."""
    return render_template("map.html", api=API)
