"""Which photos may be read, and within which limits."""

from dataclasses import dataclass

DEFAULT_MAX_BYTES = 200_000_000
DEFAULT_MAX_PIXELS = 64_000_000
DEFAULT_DECODING_BYTES = 320_000_000


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """The limits of reading photos.

    URLs are only for sources that the operator named: a client of the server must never make it fetch a URL.
    """

    allow_urls: bool = False  # whether sources, and the rows of manifests, may be URLs
    roots: tuple[str, ...] = ()  # folders and URLs below which indexed photos may be shown; empty: every indexed photo
    max_bytes: int = DEFAULT_MAX_BYTES  # larger files are refused
    max_pixels: int = DEFAULT_MAX_PIXELS  # larger photos are refused
    decoding_bytes: int = DEFAULT_DECODING_BYTES  # memory in which threads decode photos at the same time
    timeout_seconds: float = 20.0  # how long a web request waits for a store


DEFAULT_POLICY = SourcePolicy()
