"""The bar and the dialogs for selected photos, which scripts add to a page when the first photo is selected."""

from flask import render_template, request

from retrieval.api_keys import Scope
from web.keys import offers
from web.schemas.fields import API


def show() -> str:
    """Render the part of a page, with the actions that the current request may be permitted."""
    return render_template("selection.html", api=f"{request.script_root}{API}", writable=offers(Scope.WRITE))
