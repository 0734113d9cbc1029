"""Forms with a photo as clients really send them: without a file name, or with one that is not UTF-8.

Werkzeug takes a part without a file name for text, and fails at a header that is not UTF-8; and it needs half a
millisecond to find the boundary in a photo of 40 kB. This parser treats the part `image` as a file in any case.
"""

import io
import re
import tempfile
from collections.abc import Iterator
from itertools import count as count_from
from pathlib import Path
from typing import IO, Any

from flask import Request
from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from retrieval.errors import BadBundle, os_errors_as

PHOTO = "image"  # the name of the part
BLANK_LINE = re.compile(rb"\r?\n\r?\n")
CONTINUED_LINE = re.compile(r"\r?\n[ \t]+")


class PhotoFormParser(FormDataParser):
    """Parses `multipart/form-data`; other forms are left to Werkzeug."""

    def parse(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        """See `FormDataParser.parse`; a form that can't be parsed is empty.

        Raises:
            RequestEntityTooLarge: it has too many parts.
        """
        boundary = (options or {}).get("boundary", "")
        if mimetype != "multipart/form-data" or not boundary.isascii() or not boundary:
            return super().parse(stream, mimetype, content_length, options)
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, FileStorage]] = []
        try:
            for name, filename, headers, content in _parts(stream.read(), boundary.encode(), self.max_form_parts):
                if filename is None and name != PHOTO:
                    fields.append((name, content.decode(errors="replace")))
                else:
                    files.append((name, FileStorage(io.BytesIO(content), filename or "", name, headers=headers)))
        except ValueError:
            fields, files = [], []
        return stream, self.cls(fields), self.cls(files)


class PhotoRequest(Request):
    """A request whose form is parsed by `PhotoFormParser`, in memory, unless its files are stored on disk."""

    form_data_parser_class: type[FormDataParser] = PhotoFormParser
    _folder: Path | None = None

    def store_files_in(self, folder: Path) -> None:
        """Store the files of the form, which is not read yet, as temporary files without names in a folder."""
        self.form_data_parser_class = FormDataParser
        self._folder = folder

    def _get_file_stream(self, *args: Any, **options: Any) -> IO[bytes]:
        """See Werkzeug, which calls it for each file."""
        return tempfile.TemporaryFile(dir=self._folder) if self._folder else super()._get_file_stream(*args, **options)

    def _load_form_data(self) -> None:
        """See Werkzeug, for which an error while the body is read is no `OSError`."""
        with os_errors_as(BadBundle, "The upload can't be stored", "Free disk space on the server."):
            super()._load_form_data()


def _parts(body: bytes, boundary: bytes, most: int | None) -> Iterator[tuple[str, str | None, Headers, bytes]]:
    """Yield the name, file name, headers and content of each part (RFC 7578); raises `ValueError` for another body."""
    delimiter = b"--" + boundary
    start = 0 if body.startswith(delimiter) else _find(b"\n" + delimiter, body, 0) + 1
    for count in count_from(1):
        start += len(delimiter)
        if body.startswith(b"--", start):
            return
        if most is not None and count > most:
            raise RequestEntityTooLarge
        end = _find(b"\n" + delimiter, body, start)
        line = BLANK_LINE.search(body, start, end + 1)  # an empty part may share its last line break with the delimiter
        if line is None:
            raise ValueError("A part has no content.")
        headers = _headers(body[start : line.start()])
        _, options = parse_options_header(headers.get("Content-Disposition"))
        if "name" not in options:
            raise ValueError("A part has no name.")
        content = body[line.end() : end - body.endswith(b"\r", start, end)]
        yield options["name"], options.get("filename"), headers, content
        start = end + 1


def _find(text: bytes, body: bytes, start: int) -> int:
    found = body.find(text, start)
    if found < 0:
        raise ValueError("The form is incomplete.")
    return found


def _headers(head: bytes) -> Headers:
    """Return the headers of a part; bytes that are not UTF-8 are replaced."""
    lines = CONTINUED_LINE.sub(" ", head.decode(errors="replace")).splitlines()
    named = [line.partition(":") for line in lines if line.strip()]
    return Headers([(name.strip(), value.strip()) for name, _, value in named])
