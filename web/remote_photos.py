"""Indexed photos at URLs: which of them may be served, and requests to their stores with a time limit."""

import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar
from urllib.parse import unquote

from retrieval.errors import BadSource, LookalikeError, MissingPhoto, NotFound, UnreadablePhoto
from retrieval.photo_ref import FileStatus, PhotoRef, display, is_url
from retrieval.source_policy import SourcePolicy
from retrieval.stores import photo_status, read_photo, store_of

CONCURRENT_REQUESTS = 16

Result = TypeVar("Result")

log = logging.getLogger("lookalike")


class RemotePhotos:
    """Reads photos at URLs; if the policy has roots, only those below one of them.

    The time limits and retries of a store's own library add up to minutes. So stores are queried on a few separate
    threads, and a request gives up on a store after `policy.timeout_seconds`.
    """

    def __init__(self, policy: SourcePolicy) -> None:
        self._policy = policy
        self._threads = ThreadPoolExecutor(CONCURRENT_REQUESTS, thread_name_prefix="store")

    def status(self, uri: str) -> FileStatus:
        """The size and version of a photo.

        Raises:
            NotFound: it is outside the library, or no longer in its store.
            LookalikeError: its store is unavailable.
        """
        return self._request(uri, self._status)

    def content(self, uri: str) -> bytes:
        """The content of a photo that has a status; raises as `status` does."""
        return self._request(uri, lambda uri: read_photo(PhotoRef(uri), self._policy.max_bytes))

    def _status(self, uri: str) -> FileStatus:
        if self._policy.roots and not self._is_below_a_root(uri):
            raise NotFound(f"{display(uri)} is outside the library.", "Add its URL to LOOKALIKE_LIBRARY_ROOTS.")
        return photo_status(PhotoRef(uri))

    def _is_below_a_root(self, uri: str) -> bool:
        """Whether a photo is below a root by whole segments of its path; never if a segment is `..`, even encoded."""
        path, chain, archive = uri.partition("::")
        if ".." in re.split(r"[/\\]", unquote(path)):
            return False
        return any(path.startswith(start) and chain + archive == end for start, end in self._prefixes)

    @cached_property
    def _prefixes(self) -> list[tuple[str, str]]:
        return [store_of(root).prefix(root) for root in self._policy.roots if is_url(root)]

    def _request(self, uri: str, request: Callable[[str], Result]) -> Result:
        """The result of a request to a store; the reason of a failure is only logged, as it may be confidential."""
        future = self._threads.submit(request, uri)
        try:
            return future.result(self._policy.timeout_seconds)
        except MissingPhoto:
            raise NotFound(
                f"{display(uri)} is indexed, but no longer in its store.",
                "Put it back, or run `lookalike index URL --sync`.",
            ) from None
        except (UnreadablePhoto, BadSource) as error:
            log.warning("%s", error)
        except TimeoutError:
            future.cancel()
            log.warning("The store of %s has not replied for %d s.", display(uri), self._policy.timeout_seconds)
        raise LookalikeError(f"The store of {display(uri)} is unavailable.")
