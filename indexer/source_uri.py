"""The name of a source in the index: the URI of a folder ends with a slash, that of a manifest does not.

In an archive, the slash is before the archive's URI: `zip://roses/::file:///photos.zip`.
"""

from retrieval.listing import is_folder
from retrieval.stores import store_of
from retrieval.stores.base import CHAIN


def source_uri(source: str) -> str:
    """Return the URI of a source, named by a path or URL; raises `BadSource` if its store can't be reached."""
    store = store_of(source)
    return "".join(store.prefix(source)) if is_folder(source) else store.canonical(source)


def is_folder_uri(source: str) -> bool:
    """Whether the URI of a source is that of a folder."""
    return source.partition(CHAIN)[0].endswith("/")


def contains(folder: str, uri: str) -> bool:
    """Whether a photo or folder, by its URI, is below a folder, by its URI."""
    start, chain, archive = folder.partition(CHAIN)
    return uri.startswith(start) and uri.endswith(chain + archive)


def is_named_by(source: str, uri: str, sources: tuple[str, ...]) -> bool:
    """Whether a source names an indexed photo, by its URI and the sources in its payload.

    Photos that were indexed before sources were recorded are named by each folder that contains them.
    """
    return source in sources if sources else is_folder_uri(source) and contains(source, uri)
