"""Correcting photos, on every engine."""

import hashlib
import json
from pathlib import Path

import numpy as np

from indexer.corrections import Corrections, PhotoChange
from retrieval.browse import Browsing, browse
from retrieval.columns.schema import ColumnSchema, read_schema
from retrieval.columns.where import parse_where
from retrieval.index import Filter, IndexStore, Payload, Point
from retrieval.photo_ref import photo_id


def test_corrections_are_found_by_filters(store: IndexStore, model: str, tmp_path: Path) -> None:
    names = ("a", "b", "copy of a")
    contents = {name: hashlib.sha256(name[-1].encode()).hexdigest() for name in names}
    payloads = [Payload(f"file:///{name}.jpg", "rose", contents[name], 4, 3, 1, "", "") for name in names]
    corrections = Corrections(tmp_path)
    with store.open(model, 4) as index:
        index.upsert([Point(photo_id(one.uri), np.ones(4, np.float32) / 2, one) for one in payloads])
        change = PhotoChange("tulip", {"price": 2.5, "tags": ["new", "red"]})
        assert corrections.correct(index, photo_id(payloads[0].uri), change).confirmed

        def found(label: str, where: dict[str, object]) -> list[str]:
            condition = parse_where(json.dumps(where), read_schema(index) or ColumnSchema(), lambda path: [])
            photos = browse(index, Browsing(filter=Filter((label,), condition), sort="name")).photos
            return [photo.payload.uri for photo in photos]

        assert found("tulip", {"price": {"gte": 2}, "tags": "red"}) == ["file:///a.jpg", "file:///copy of a.jpg"]
        assert found("rose", {"price": {"exists": False}}) == ["file:///b.jpg"]
        assert index.labels() == {"tulip": 2, "rose": 1}
