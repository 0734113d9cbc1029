"""Results with one photo for each value of a column, for example for each product."""

import uuid
from collections.abc import Callable, Sequence

from retrieval.hit_order import TIE_DEPTHS, hits_with_ties
from retrieval.index import Filter, Hit, Payload
from retrieval.index.conditions import Condition, Field, OneOf, Within

DEEPER = 4  # times as many hits are fetched as long as there are too few groups

Group = str | float


def group_of(photo: Payload, field: Field) -> Group | None:
    """Return the value by which a photo is grouped: its first of the field; None if it has none."""
    values = field.values(photo)
    return values[0] if values else None


def first_of_groups(hits: Sequence[Hit], field: Field) -> list[Hit]:
    """Return the first hit of each group, and all hits without a value."""
    seen: set[Group] = set()
    found = []
    for hit in hits:
        group = group_of(hit.payload, field)
        if group is None or group not in seen:
            found.append(hit)
        if group is not None:
            seen.add(group)
    return found


def hits_of_groups(
    search: Callable[[int], list[Hit]], groups: int, leave_out: frozenset[uuid.UUID], field: Field
) -> list[Hit]:
    """Return the nearest hits, as many as are needed for some number of groups, but at most the deepest search."""
    depth = DEEPER * groups
    while True:
        hits = hits_with_ties(search, depth, leave_out)
        if len(hits) < depth or len(first_of_groups(hits, field)) >= groups or depth >= TIE_DEPTHS[-1]:
            return hits
        depth = min(DEEPER * depth, TIE_DEPTHS[-1])


def only_group(filter: Filter, field: Field, group: Group) -> Filter:
    """Return a filter that also demands that a photo is of a group."""
    same: Condition = (
        OneOf(field, (group,)) if isinstance(group, str) else Within(field, gte=float(group), lte=float(group))
    )
    return filter.narrowed(same)
