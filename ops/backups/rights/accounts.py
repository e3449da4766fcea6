"""The accounts of a database and their rights, read from the tables that `tables.layout_of` finds."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import connection

from ops.backups.engines.base import Columns, Rows
from ops.backups.rights.changes import Account, Accounts, Permission, RightsChange, compare
from ops.backups.rights.tables import FALSE, Layout, Relation
from ops.errors import OpsError
from ops.utils.identifiers import quoted

MAX_ROWS = 250_000
"""Tables with more rows are not compared."""
Key = str | None


class AccountsUnknown(OpsError):
    """Rights cannot be compared, because the accounts of a database could not be read."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """The rows of `columns` that were read."""

    columns: Columns
    rows: Mapping[str, Rows]

    def select(self, relation: Relation) -> Iterator[tuple[str | None, ...]]:
        """The rows of a relation whose table was read."""
        order = self.columns[relation.table]
        positions = [order.index(column) for column in relation.columns]
        return (tuple(row[position] for position in positions) for row in self.rows[relation.table])


def accounts_in(layout: Layout, content: Content, *, where: str) -> Accounts:
    """The accounts in `content`. Raises AccountsUnknown where a table is missing; `where` it was read, for messages."""
    if missing := [table for table in layout.columns if table not in content.rows]:
        raise AccountsUnknown(
            f"The permissions could not be compared: {where} has no table {missing[0]}, or not all of its columns."
        )
    known = permissions_in(layout, content)
    permissions_of: dict[str, frozenset[Permission]] = {}
    memberships: dict[Key, set[str]] = {}
    for group in layout.groups:
        names = {key: f"{group.word} {name}" for key, name in content.select(group.names)}
        grants = pairs(content, group.grants)
        for key, name in names.items():
            granted = (known[one] for one in grants.get(key, ()) if one in known)
            permissions_of[name] = permissions_of.get(name, frozenset()).union(granted)
        for key, ones in pairs(content, group.members).items():
            memberships.setdefault(key, set()).update(names[one] for one in ones if one in names)
    own = pairs(content, *layout.own)
    accounts = [
        Account(
            key=key or "",
            name=values.get(layout.name) or "",
            password=values.get("password"),
            active="is_active" not in values or values["is_active"] not in FALSE,
            superuser=values.get("is_superuser") not in FALSE,
            marks=frozenset(filter(None, (mark.right_of(values.get(mark.field)) for mark in layout.marks))),
            groups=frozenset(memberships.get(key, ())),
            own=frozenset(known[one] for one in own.get(key, ()) if one in known),
        )
        for key, values in values_in(layout, content).items()
    ]
    return Accounts(accounts=accounts, groups=permissions_of)


def permissions_in(layout: Layout, content: Content) -> dict[Key, Permission]:
    if not layout.labels:
        return {}
    permissions, kinds = layout.labels
    models_of = {key: (app or "", model or "") for key, app, model in content.select(kinds)}
    return {
        key: Permission(*models_of.get(kind, ("", "")), codename or "")
        for key, kind, codename in content.select(permissions)
    }


def pairs(content: Content, *relations: Relation) -> dict[Key, list[Key]]:
    """The right sides of pairs by their left sides."""
    found: dict[Key, list[Key]] = {}
    for relation in relations:
        for left, right in content.select(relation):
            found.setdefault(left, []).append(right)
    return found


def values_in(layout: Layout, content: Content) -> dict[Key, dict[str, str | None]]:
    """The fields of each account by its key. The table of a parent model may have other rows as well."""
    first, *others = layout.parts
    found: dict[Key, dict[str, str | None]] = {
        key: dict(zip(first.fields, values, strict=True)) for key, *values in content.select(first.relation)
    }
    for part in others:
        for key, *values in content.select(part.relation):
            if key in found:
                found[key].update(zip(part.fields, values, strict=True))
    return found


# --- Reading a database ---------------------------------------------------------------------------------------------
def compare_accounts(layout: Layout, then: Callable[[], Accounts]) -> RightsChange:
    """What changes when the accounts of `then` replace the live ones; unknown where either cannot be read."""
    try:
        return compare(accounts_of_default(layout, where="the live database", complete=False), then())
    except OpsError as error:
        return RightsChange(unknown=error.message)


def accounts_of_default(layout: Layout, *, where: str, complete: bool = True) -> Accounts:
    """The accounts of "default" in this thread, which messages call `where`. Raises AccountsUnknown.

    Unless they have to be `complete`, missing tables give no rights.
    """
    rows = read_default(layout.columns, where=where)
    if not complete:
        rows = {table: rows.get(table, []) for table in layout.columns}
    return accounts_in(layout, Content(columns=layout.columns, rows=rows), where=where)


def read_default(columns: Columns, *, where: str) -> dict[str, Rows]:
    """As `ops.backups.engines.base.Engine.read_columns`. Raises AccountsUnknown."""
    found: dict[str, Rows] = {}
    try:
        with connection.cursor() as cursor:
            existing = set(connection.introspection.table_names(cursor))
            for table in existing.intersection(columns):
                described = connection.introspection.get_table_description(cursor, table)
                if set(columns[table]) <= {one.name for one in described}:
                    texts = ", ".join(f"CAST({quoted(column)} AS text)" for column in columns[table])
                    cursor.execute(f"SELECT {texts} FROM {quoted(table)}")
                    found[table] = cursor.fetchmany(MAX_ROWS + 1)
                    require_few(table, len(found[table]), where=where)
    except DatabaseError as error:
        raise AccountsUnknown(
            f"The permissions could not be compared: {where} is unreachable ({type(error).__name__})."
        ) from error
    return found


def require_few(table: str, rows: int, *, where: str) -> None:
    """Raises AccountsUnknown for too many rows."""
    if rows > MAX_ROWS:
        raise AccountsUnknown(
            f"The permissions could not be compared: {where} has more than {MAX_ROWS:,} rows in the table {table}."
        )
