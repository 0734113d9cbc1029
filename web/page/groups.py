"""Results with one photo per group on the page: the columns that are offered, and the link that opens a group."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrieval.columns.where import BUILT_IN, GROUPED_KINDS, columns_of
from retrieval.errors import BadQuery
from retrieval.index.conditions import Field
from retrieval.result_groups import Group, group_of
from retrieval.search_response import SearchResult
from web.columns import group_by, hidden_columns, schema
from web.page.address import LONGEST_VALUE, PageQuery
from web.services import services


@dataclass(frozen=True, slots=True)
class Others:
    """The photos of a group that are not shown: how many, and the URL that shows them with the first."""

    count: int
    link: str | None  # None if the value of the group is too long for a URL


def offered_groups(chosen: str) -> dict[str, str]:
    """Return the columns to group by, by name, with their titles: the label, and those of manifests."""
    columns = columns_of(schema(), hidden_columns())
    fitting = (name for name, field in columns.items() if name not in BUILT_IN and field.kind in GROUPED_KINDS)
    names = dict.fromkeys(["label", *fitting, *filter(None, [chosen])])
    return {name: name.capitalize() if name in BUILT_IN else name for name in names}


def is_known(column: str) -> bool:
    """Whether the photos can be grouped by a column."""
    try:
        group_by(column)
    except BadQuery:
        return False
    return True


def others_of(query: PageQuery, results: Sequence[SearchResult]) -> Mapping[uuid.UUID, Others]:
    """Return the further photos of the groups of results, by the ids of the results; empty without groups."""
    field = group_by(query.group_by or None)
    shown = [result.id for result in results if result.more]
    if field is None or not shown:
        return {}
    known = services().searcher.index.get(shown)
    return {
        result.id: Others(result.more, _link(query, field, group_of(known[result.id], field)))
        for result in results
        if result.more and result.id in known
    }


def _link(query: PageQuery, field: Field, group: Group | None) -> str | None:
    """Return the URL of the search for all photos of a group, at any similarity."""
    name = query.group_by
    whole = query.model_copy(update={"group_by": "", "diverse": False, "min_score": 0, "band": "", "offset": 0})
    if isinstance(group, float):
        number = f"{group:.17g}"
        return whole.address(limits={**query.limits, f"from.{name}": number, f"to.{name}": number})
    if group is None or len(name) + len(group) >= LONGEST_VALUE:
        return None
    if name == "label":
        return whole.address(label=[group])
    others = [value for value in query.only if value.partition("=")[0] != name]
    return whole.address(only=[*others, f"{name}={group}"])
