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
        self._is_new = known is None or (known.incomplete and not known.kinds)  # the latter after an interruption
        self._known = known or ColumnSchema()
        self._kinds: dict[str, Kind] = {}  # of new columns
        self._unclear: set[str] = set()  # columns with kinds that do not follow from their values
        self._has_places = False
        save_schema(index, self._known.model_copy(update={"incomplete": True}))

    def see(self, photo: Payload) -> None:
        """Take note of the columns of a photo before it is written."""
        kinds = kinds_of(photo)
        for name, value in photo.extra.items():
            if name not in self._known.kinds:
                values = value if isinstance(value, list) else [value]
                if name in kinds:
                    self._kinds[name] = kinds[name]
                if any(classify(one) != kinds.get(name) for one in values):
                    self._unclear.add(name)
        self._has_places |= PLACE in photo.columns

    def save(self) -> None:
        """Add the columns to the schema, and give all photos the values that filters compare."""
        schema = read_schema(self._index) or self._known  # another process may have changed it
        declared = {name: kind for name, kind in self._kinds.items() if name in self._unclear} | schema.declared
        if self._is_new and self._has_places:
            declared[PLACE] = "place"
        save_schema(self._index, schema.model_copy(update={"declared": declared, "incomplete": True}))
        upgrade_columns(self._index)
