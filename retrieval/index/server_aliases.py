"""The aliases on a Qdrant server that name the collections of the current and the previous model.

Both change in one call. The first action of that call renames a third alias, the guard. Of two activations at the same
time, the second finds it renamed, and is refused as a whole: Qdrant applies the actions of a call in order,
and stops at the first that fails.
"""

import uuid
from collections.abc import Mapping

from qdrant_client import models

from retrieval.errors import IndexMismatch, LookalikeError
from retrieval.index.client import Connection
from retrieval.index.server_collections import Collections

Actions = list[models.AliasOperations]


class Aliases:
    """The aliases `PREFIX`, `PREFIX-previous` and `PREFIX-activation-…`, which is the guard."""

    def __init__(self, connection: Connection, collections: Collections) -> None:
        self._connection, self._collections = connection, collections
        prefix = collections.prefix
        self._current, self._previous, self._guard = prefix, f"{prefix}-previous", f"{prefix}-activation"

    def current(self) -> str | None:
        """Return the current model; raises `IndexMismatch` if the alias names a collection that is not ours."""
        return self._model(self._current, self._all())

    def previous(self) -> str | None:
        """Return the previous model; raises `IndexMismatch` if the alias names a collection that is not ours."""
        return self._model(self._previous, self._all())

    def replace_current(self, expected: str | None, model: str) -> bool:
        """Make a model the current one if `expected` is the current one; return whether it was.

        Raises:
            IndexMismatch: an alias or a collection of something else is in the way; nothing has changed.
        """
        aliases = self._checked()
        if not self._guard_of(aliases):
            self._change([_create(self._guard, self._collections.name(model))])
            aliases = self._checked()
        if self._model(self._current, aliases) != expected or not (guard := self._guard_of(aliases)):
            return False
        renamed = f"{self._guard}-{uuid.uuid4().hex}"
        actions: Actions = [_rename(guard, renamed)]
        for alias, target in ((renamed, model), (self._current, model), (self._previous, expected)):
            if target:
                actions += [_delete(alias), _create(alias, self._collections.name(target))]
        try:
            self._change(actions)
        except LookalikeError:
            aliases = self._all()
            if guard in aliases or (renamed in aliases and self._model(self._current, aliases) != model):
                raise
            return renamed in aliases
        return True

    def _checked(self) -> Mapping[str, str]:
        """Return the aliases, after making sure that those to be moved can be moved."""
        aliases = self._all()
        for alias in (self._current, self._previous):
            self._model(alias, aliases)
        for name in {self._current, self._previous} & set(self._collections.names()):
            raise IndexMismatch(
                f"A collection of the Qdrant server is named {name}, which is the alias of a model.",
                "Rename or delete that collection, or use another prefix (LOOKALIKE_QDRANT_PREFIX).",
            )
        return aliases

    def _model(self, alias: str, aliases: Mapping[str, str]) -> str | None:
        """Return the model that an alias names."""
        collection = aliases.get(alias)
        if collection is None:
            return None
        if not self._collections.is_ours(collection):
            raise IndexMismatch(
                f"The alias {alias} of the Qdrant server names the collection {collection}, which was not made by this "
                "installation of Lookalike.",
                "Delete the alias, or use another prefix (LOOKALIKE_QDRANT_PREFIX).",
            )
        return self._collections.model(collection)

    def _guard_of(self, aliases: Mapping[str, str]) -> str | None:
        return min((alias for alias in aliases if alias.startswith(self._guard)), default=None)

    def _all(self) -> Mapping[str, str]:
        """Return the collection that each alias names."""
        found = self._connection.request(lambda client: client.get_aliases()).aliases
        return {entry.alias_name: entry.collection_name for entry in found}

    def _change(self, actions: Actions) -> None:
        """Apply the actions in their order, until the first that the server refuses; raises `LookalikeError` then."""
        self._connection.request(lambda client: client.update_collection_aliases(actions))


def _create(alias: str, collection: str) -> models.CreateAliasOperation:
    return models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=collection, alias_name=alias))


def _rename(alias: str, name: str) -> models.RenameAliasOperation:
    return models.RenameAliasOperation(rename_alias=models.RenameAlias(old_alias_name=alias, new_alias_name=name))


def _delete(alias: str) -> models.DeleteAliasOperation:
    return models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
