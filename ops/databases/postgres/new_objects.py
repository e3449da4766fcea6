"""The owner and the privileges of objects that the database which is replaced does not have."""

import re
import statistics
from collections.abc import Collection, Iterable, Iterator

import msgspec

from ops.databases.postgres.object_rights import DEFAULT, Grant, ObjectName, ObjectRights, Objects

DEFAULTS_OF = {
    "TABLE": "TABLES",
    "SEQUENCE": "SEQUENCES",
    "ROUTINE": "ROUTINES",
    "TYPE": "TYPES",
    "SCHEMA": "SCHEMAS",
    "LARGE OBJECT": "LARGE OBJECTS",
}
"""The kinds of objects that get default privileges, and their names in these."""
OF_SUPERUSERS = frozenset({"EVENT TRIGGER", "FOREIGN DATA WRAPPER", "LANGUAGE", "PUBLICATION"})
SCHEMA = re.compile(r'("(?:[^"]|"")*"|[^".]+)\.')


def new_objects(
    wanted: Collection[ObjectRights], found: Iterable[ObjectRights], *, owner: str, defaults: Objects, schema: str = ""
) -> Iterator[ObjectRights]:
    """The `found` objects that are not `wanted`, with the rights that they had if the `owner` had created them.

    Without an owner, theirs stays. `schema` is the name of theirs in `defaults`.
    """
    listed = {rights.name for rights in wanted}
    for rights in found:
        if rights.name not in listed and rights.initial is None:
            role = owner if owner and rights.name.kind not in OF_SUPERUSERS else rights.owner
            kind, own_schema = DEFAULTS_OF.get(rights.name.kind, ""), SCHEMA.match(rights.name.identity)
            everywhere = defaults.get(ObjectName(DEFAULT, f"FOR ROLE {role}", kind), rights)
            where = schema or (own_schema[1] if own_schema else "")
            here = defaults.get(ObjectName(DEFAULT, f"FOR ROLE {role} IN SCHEMA {where}", kind))
            grants = {*everywhere.grants, *(here.grants if here else ())}
            yield msgspec.structs.replace(rights, owner=role, grants=without_weaker(grants))


def usual_owner(objects: Collection[ObjectRights]) -> str:
    """The owner of most tables, or of the database where that has none; '' if neither is known."""
    for kind in ("TABLE", "DATABASE"):
        if names := [rights.owner for rights in objects if rights.name.kind == kind and rights.has_own_owner]:
            return statistics.mode(names)
    return ""


def without_weaker(grants: Collection[Grant]) -> tuple[Grant, ...]:
    """Without those that others give with grant option."""
    return tuple(sorted(each for each in grants if each.grantable or each._replace(grantable=True) not in grants))


def default_privileges(objects: Iterable[ObjectRights]) -> Objects:
    return {rights.name: rights for rights in objects if rights.name.kind == DEFAULT}
