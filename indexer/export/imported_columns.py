"""The kinds of the columns of imported photos: those of the index from which they were exported."""

from indexer.index_columns import upgrade_columns
from retrieval.columns.kinds import Kind, classify
from retrieval.columns.schema import PLACE, ColumnSchema, kinds_of, read_schema, save_schema
from retrieval.index import Payload, VectorIndex


class ImportedColumns:
    """Adds the columns of imported photos to an index; columns that it knows keep their kinds.

    An index without any columns also stores the places of photos if that did from which they were exported. If the
    import is interrupted, the next job completes the columns.
    """

    def __init__(self, index: VectorIndex) -> None:
        self._index = index
        known = read_schema(index)
        self._is_new = known is None
        self._known = known or ColumnSchema()
        self._declared: dict[str, Kind] = {}  # kinds that do not follow from the values
        save_schema(index, self._known.model_copy(update={"incomplete": True}))

    def see(self, photo: Payload) -> None:
        """Take note of the columns of a photo before it is written."""
        for name, kind in kinds_of(photo).items():
            values = photo.extra[name]
            kinds = map(classify, values if isinstance(values, list) else [values])
            if name not in self._known.kinds and any(one != kind for one in kinds):
                self._declared[name] = kind
        if self._is_new and PLACE in photo.columns:
            self._declared[PLACE] = "place"

    def save(self) -> None:
        """Add the columns to the schema, and give all photos the values that filters compare."""
        schema = read_schema(self._index) or self._known  # another process may have changed it
        declared = {**self._declared, **schema.declared}
        save_schema(self._index, schema.model_copy(update={"declared": declared, "incomplete": True}))
        upgrade_columns(self._index)
