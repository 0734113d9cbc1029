"""A form with one large file, the archive of a model: stored on disk while it arrives, with limits of its own."""

from typing import cast

from flask import request

from retrieval.bundle_archive import MAX_UNPACKED_MB
from web import arrival
from web.multipart import PhotoRequest
from web.services import services

MAX_BUNDLE_MB = MAX_UNPACKED_MB
MAX_SECONDS = 3600  # in which 350 MB arrive at 0.8 Mbit/s


def expect_large_file() -> None:
    """Store the file of the current request's form in the home, and allow it `MAX_BUNDLE_MB` and `MAX_SECONDS`.

    Call it before the form is read, and only for clients that may send such a file. The file has no name, so nothing is
    left behind if the upload breaks off or the process is killed.
    """
    request.max_content_length = MAX_BUNDLE_MB * 1_000_000
    cast(PhotoRequest, request).store_files_in(services().settings.home)
    arrival.allow(MAX_SECONDS)
