"""What every request works with."""

from dataclasses import dataclass
from threading import BoundedSemaphore

from flask import current_app

from retrieval.search import Searcher
from retrieval.settings import Settings
from web.photo_files import PhotoFiles

EXTENSION = "lookalike"


@dataclass(frozen=True, slots=True)
class Services:
    """The settings, the searcher on the model that serves, and the photos on disk.

    Whoever decodes or embeds a photo holds `computing` meanwhile: as many do at once as there are cores.
    """

    settings: Settings
    searcher: Searcher
    photo_files: PhotoFiles
    computing: BoundedSemaphore


def services() -> Services:
    """The services of the application that answers the current request."""
    found: Services = current_app.extensions[EXTENSION]
    return found
