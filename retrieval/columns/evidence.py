"""What the values of manifests say about the kinds of their columns, while the manifests are listed."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping

from retrieval.columns.kinds import Kind, classify, stored
from retrieval.photo_ref import Extra, Scalar, display

MOST_COLUMNS = 200  # of an index; further ones are stored and shown, and can't be used in filters
PLURALS: dict[Kind, str] = {
    "text": "text",
    "number": "numbers",
    "date": "dates",
    "flag": "true or false",
    "place": "places",
}


class ColumnEvidence:
    """Counts the kinds of the values of each column, and remembers an example of each kind."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[Kind]] = {}
        self._examples: dict[str, dict[Kind, Scalar]] = {}
        self._left_out = ""

    def see(self, extra: Extra) -> None:
        """Add the values of a row."""
        for column, value in extra.items():
            if column not in self._counts and len(self._counts) >= MOST_COLUMNS:
                self._left_out = self._left_out or column
                continue
            counts = self._counts.setdefault(column, Counter())
            for one in value if isinstance(value, list) else (value,):
                kind = classify(one)
                counts[kind] += 1
                if counts[kind] == 1:
                    self._examples.setdefault(column, {})[kind] = one

    def kinds(self) -> dict[str, Kind]:
        """Return the kind of each column: that of all of its values, or text if they differ."""
        return {column: next(iter(counts)) if len(counts) == 1 else "text" for column, counts in self._counts.items()}

    def notices(self, kinds: Mapping[str, Kind]) -> Iterator[str]:
        """Yield a sentence for each column with values of several kinds, and for columns that were left out.

        Args:
            kinds: those with which the columns are indexed.
        """
        for column, examples in self._examples.items():
            kind = kinds.get(column, "text")
            others = [other for other in examples if other != "text"]
            if kind == "text" and others and len(examples) > 1:
                written = " and ".join(f"{PLURALS[other]} ({_shown(example)})" for other, example in examples.items())
                yield (
                    f"The column {display(column)} has {written}, so it is indexed as text. To index only the "
                    f"{PLURALS[others[0]]}: --column {display(column)}:{others[0]}."
                )
            elif lost := [other for other, example in examples.items() if stored(example, kind) is None]:
                count = sum(self._counts[column][other] for other in lost)
                yield (
                    f"{count:,} values of the column {display(column)} are not {PLURALS[kind]}, for example "
                    f"{_shown(examples[lost[0]])}; no filter by this column finds these photos."
                )
        if self._left_out:
            yield (
                f"Filters can use {MOST_COLUMNS} columns, and the manifests have more; "
                f"{display(self._left_out)} is one of those that filters can't use."
            )


def _shown(value: Scalar) -> str:
    return display(json.dumps(value, ensure_ascii=False))
