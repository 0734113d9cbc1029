"""Forms with a photo as clients really send them: without a file name, or with one that is not UTF-8.

Werkzeug takes a part without a file name for text, and fails at a header that is not UTF-8. This parser uses its
decoder in the same way, but treats the part `image` as a file in any case.
"""

import io
from collections.abc import Iterator
from typing import IO, Any

from flask import Request
from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.formparser import FormDataParser
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

PHOTO = "image"  # the name of the part
CHUNK_BYTES = 64 * 1024

Part = tuple[Field | File, bytes]


class PhotoFormParser(FormDataParser):
    """Parses `multipart/form-data`; other forms are left to Werkzeug."""

    def parse(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        """See `FormDataParser.parse`; a form that can't be parsed is empty.

        Raises:
            RequestEntityTooLarge: it has too many parts, or a long text.
        """
        boundary = (options or {}).get("boundary", "")
        if mimetype != "multipart/form-data" or not boundary.isascii() or not boundary:
            return super().parse(stream, mimetype, content_length, options)
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, FileStorage]] = []
        decoder = _Decoder(boundary.encode(), self.max_form_memory_size, max_parts=self.max_form_parts)
        try:
            for part, content in _parts(decoder, stream):
                if isinstance(part, Field) and part.name != PHOTO:
                    fields.append((part.name, content.decode(errors="replace")))
                else:
                    name = part.filename if isinstance(part, File) else ""
                    files.append((part.name, FileStorage(io.BytesIO(content), name, part.name, headers=part.headers)))
        except ValueError:
            fields, files = [], []
        return stream, self.cls(fields), self.cls(files)


class PhotoRequest(Request):
    """A request whose form is parsed by `PhotoFormParser`."""

    form_data_parser_class = PhotoFormParser


class _Decoder(MultipartDecoder):
    """A decoder that replaces bytes of headers that are not UTF-8.

    It overrides a method that Werkzeug does not document; tests/web/test_multipart.py fails if it changes.
    """

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        return super()._parse_headers(bytes(data).decode(errors="replace").encode())


def _parts(decoder: MultipartDecoder, stream: IO[bytes]) -> Iterator[Part]:
    """Yield each part with its content."""
    part: Field | File = Field("", Headers())
    content = bytearray()
    for event in _events(decoder, stream):
        if isinstance(event, Field | File):
            part, content = event, bytearray()
        elif isinstance(event, Data):
            content += event.data
            if not event.more_data:
                yield part, bytes(content)


def _events(decoder: MultipartDecoder, stream: IO[bytes]) -> Iterator[Event]:
    chunk: Any = b""
    while chunk is not None:
        chunk = stream.read(CHUNK_BYTES) or None  # None ends the form
        decoder.receive_data(chunk)
        while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
            yield event
