"""`/login`: signs a browser in with a key."""

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized
from werkzeug.wrappers import Response

from web.keys import known, refuse_other_websites, remember
from web.problems import accepts_page

blueprint = Blueprint("login", __name__)


@blueprint.get("/login")
def show() -> Response | str:
    """Sign in with the key in the link that `lookalike serve` prints; without a key, show a form."""
    return _sign_in(request.args["key"]) if "key" in request.args else render_template("login.html")


@blueprint.post("/login")
def sign_in() -> Response:
    """Sign in with the key in the form."""
    refuse_other_websites()
    return _sign_in(request.form.get("key", ""))


def _sign_in(secret: str) -> Response:
    key = known(secret.strip())
    if key is None:
        if accepts_page():
            form = render_template("login.html", is_wrong=True)
            return Response(form, 401, {"WWW-Authenticate": "Bearer"}, mimetype="text/html")
        raise Unauthorized("The key is wrong.", www_authenticate=WWWAuthenticate("bearer"))
    response = redirect(url_for("page.show"), 303)
    remember(response, key)
    return response
