"""The table of formats is what Pillow reads, what a listing finds, and what pages and API name."""

from pathlib import Path

import pytest
from PIL import Image

from retrieval import formats
from retrieval.listing import list_photos


def test_pillow_reads_each_format_by_its_name_and_suffixes() -> None:
    suffixes = Image.registered_extensions()
    for format in formats.FORMATS:
        assert formats.by_name(format.name) is format
        for suffix in format.suffixes:
            assert formats.by_file_name(f"photo{suffix.upper()}") is format
        if format.module == "PIL":
            assert Image.MIME[format.name] == format.media_type
            assert {suffixes[suffix] for suffix in format.suffixes} <= {format.name, "MPO"}


def test_each_format_is_decoded_by_an_installed_package() -> None:
    """Those of the extras are installed for development."""
    assert formats.FORMATS == formats.ALL_FORMATS


def test_a_listing_finds_the_files_of_each_format(tmp_path: Path) -> None:
    names = {f"{suffix[1:]}{suffix}" for format in formats.FORMATS for suffix in format.suffixes}
    for name in (*names, "photo.svg", "photo", ".jpg"):
        (tmp_path / name).touch()
    assert {photo.path.name for photo in list_photos(tmp_path)} == names


def test_a_format_that_is_none_of_the_table_is_unknown() -> None:
    with pytest.raises(KeyError):
        formats.by_name("PDF")
    assert formats.by_file_name("paper.pdf") is None


def test_the_formats_are_listed_for_people() -> None:
    assert formats.LISTED == "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC, JPEG 2000, JPEG XL or camera raw"
