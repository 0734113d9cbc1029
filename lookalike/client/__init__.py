"""A client of the JSON API, which imports neither NumPy nor the libraries of the server.

from lookalike.client import Client

with Client("http://127.0.0.1:5000") as client:
    for result in client.search("photo.jpg", k=5).results:
        print(f"{result.score:.2f} {result.label} {result.path}")
"""

from lookalike.client.client import Client, Options
from lookalike.client.errors import (
    ApiError,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    PhotoChanged,
    ServerUnreachable,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnreadablePhoto,
)
from lookalike.client.photos import Photo
from lookalike.client.responses import (
    AddedPhoto,
    Embeddings,
    FailedPhoto,
    IndexedPhoto,
    Job,
    LabelCount,
    Part,
    PredictedLabel,
    QueueCount,
    QueuedPhoto,
    Queues,
    SavedSearch,
    SearchResult,
    SearchResults,
)

__all__ = [
    "AddedPhoto",
    "ApiError",
    "Client",
    "Conflict",
    "Embeddings",
    "FailedPhoto",
    "Forbidden",
    "IndexedPhoto",
    "InvalidRequest",
    "Job",
    "LabelCount",
    "NotFound",
    "Options",
    "Part",
    "Photo",
    "PhotoChanged",
    "PredictedLabel",
    "QueueCount",
    "QueuedPhoto",
    "Queues",
    "SavedSearch",
    "SearchResult",
    "SearchResults",
    "ServerUnreachable",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "UnreadablePhoto",
]
