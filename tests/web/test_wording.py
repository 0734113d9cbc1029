"""The strings of the pages: without the wrong forms that they once had, and with the usual terms."""

import re
from pathlib import Path

import pytest
from serving import ROOT

SOURCES = sorted((ROOT / "web").glob("static/*.js")) + sorted((ROOT / "web").glob("templates/*.html"))
TEMPLATE_TAG = re.compile(r"\{%.*?%\}|\{#.*?#\}", re.DOTALL)
TERMS = (
    "Minimum similarity",
    "Clear filter",
    "Location",
    "Modified",
    "Active",
    "Previous",
    "Compute the map",
    "Clear history",
    "most similar photos",
)
WRONG = re.compile(
    r"[\d}] %(?![\w(])"  # a space before %
    r"|>Changed<|>Place<|at least this similar|Show everything|Forget these|Draw the map|In use|Before that",
    re.IGNORECASE,
)


def text_of(path: Path) -> str:
    """The source without comments, and without the tags of templates."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        return TEMPLATE_TAG.sub("", source)
    return re.sub(r"^\s*(//|/?\*).*$", "", source, flags=re.MULTILINE)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_strings_have_no_wrong_forms(path: Path) -> None:
    assert WRONG.findall(text_of(path)) == []


def test_the_usual_terms_are_used() -> None:
    texts = "\n".join(map(text_of, SOURCES))
    assert [term for term in TERMS if term not in texts] == []


def test_wrong_forms_are_found() -> None:
    for wrong in ("Tulip 100 %", "`${share} %`", "{{ share }} %.", "<dt>Place</dt>", "Show everything"):
        assert WRONG.search(wrong), wrong
    for right in ("100%", "(one % two)", "{{ 'of %g' % total }}", "place"):
        assert not WRONG.search(right), right
