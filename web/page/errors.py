"""What pages say about errors: sentences for people who search, instead of those of the API for programmers."""

import re

# Titles instead of the names of the statuses.
TITLES = {
    400: "This request is incomplete",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible",
    409: "Not possible now",
    412: "Changed meanwhile",
    413: "This file is too large",
    415: "This file can't be used",
    422: "This search is not possible",
    429: "Too many requests",
    500: "Something went wrong",
    503: "Not available now",
}
UNKNOWN_TITLE = "Something went wrong"

# Details instead of those of werkzeug, which describe HTTP, and of pydantic, which describe fields.
DETAILS = {
    400: "The browser sent something that this server does not understand.",
    404: "There is no page at this address.",
    405: "This address can't be used in this way.",
    415: "The browser sent something that is not a photo.",
    422: "This link is incomplete or wrong.",
    429: "There were too many requests in a short time.",
    500: "The server could not answer because of an error.",
    503: "The server can't answer at the moment.",
}

REMEDIES = {
    400: "Go back and try again.",
    401: "Sign in with a key of this server.",
    403: "Ask the administrator of this server.",
    404: "Check the link, or start again.",
    405: "Go back and try again.",
    409: "Try again later.",
    413: "Choose a smaller photo.",
    415: "Choose a photo.",
    422: "Copy the whole link, or search with the photo itself.",
    429: "Wait a minute, then try again.",
    500: "Try again; if it happens again, tell the administrator of this server.",
    503: "Try again in a minute.",
}
# Titles, details and remedies of types of problems, instead of those above; None: as above.
OF_TYPES = {
    "no-model": (None, "There are no photos to search yet.", "Add photos on the start page."),
    "bad-source": ("This folder can't be indexed", None, "Choose another folder."),
    "bad-bundle": ("This model can't be used", None, "Choose a ZIP archive of the folder of a model."),
    "unreadable-photo": (None, None, "Choose another photo."),
}
TECHNICAL = re.compile(r"LOOKALIKE_|/api/|--\w|\blookalike\b|Retry-After|header|server's log")


def texts(status: int, detail: str, remedy: str, kind: str) -> tuple[str, str, str]:
    """Return the title, the detail and the remedy that a page shows for a problem.

    Args:
        status: of the response.
        detail: of the problem document.
        remedy: of the problem document.
        kind: the last part of its type; "about:blank" for errors of HTTP, the details of which are replaced.
    """
    if kind in ("about:blank", "invalid-request"):
        detail = DETAILS.get(status, detail)
    own_title, own_detail, own_remedy = OF_TYPES.get(kind, (None, None, None))
    if TECHNICAL.search(remedy) or not remedy:
        remedy = own_remedy or REMEDIES.get(status, "")
    return own_title or TITLES.get(status, UNKNOWN_TITLE), own_detail or detail, remedy
