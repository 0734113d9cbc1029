"""Which photos may be read, and within which limits."""

from dataclasses import dataclass

DEFAULT_MAX_PIXELS = 64_000_000


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """The limits of reading photos.

    Args:
        allow_urls: whether sources, and the rows of manifests, may be URLs. Only for sources that the operator named:
            a client of the server must never make it fetch a URL.
        roots: folders and URLs whose indexed photos may be shown; empty: every indexed photo.
        max_bytes: larger files are refused; None: no limit.
        max_pixels: larger photos are refused.
        timeout_seconds: how long a web request waits for a store.
    """

    allow_urls: bool = False
    roots: tuple[str, ...] = ()
    max_bytes: int | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    timeout_seconds: float = 20.0


DEFAULT_POLICY = SourcePolicy()
