"""Labels have one form, and are found in the forms in which older versions stored them."""

import unicodedata

import pytest

from retrieval.labels import forms, normalized

NFD = unicodedata.normalize("NFD", "rosé")


@pytest.mark.parametrize(
    ("label", "expected"),
    [("rose", "rose"), (" rose\t", "rose"), (NFD, "rosé"), ("two\nlines", "two\\nlines"), ("  ", None), (None, None)],
)
def test_a_label_is_composed_trimmed_and_printable(label: str | None, expected: str | None) -> None:
    assert normalized(label) == expected
    assert normalized(expected) == expected


def test_the_forms_of_a_label() -> None:
    assert set(forms(" rosé")) == {"rosé", " rosé", NFD}
    assert set(forms(NFD)) == {"rosé", NFD}
    assert forms("rose") == ("rose",)
