"""Where the rows go: a new database beside the target that takes its place, or one transaction on the target."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg2
from django.db import models, transaction
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.databases.claims import Claims
from ops.databases.migration_state import run_migrations
from ops.databases.override import override_database, sqlite_wrapper
from ops.databases.postgres import databases, rename
from ops.databases.postgres.connection import ConnectionInfo
from ops.databases.postgres.queries import fetch_value
from ops.engine_migration.planner import concrete_models
from ops.engine_migration.workers import suitable_processes
from ops.errors import PreconditionFailed
from ops.utils import posix_signals
from ops.utils.identifiers import quoted

NEW_SUFFIX = "_ops_new"
OLD_SUFFIX = "_ops_old"
OLDEST_SERVER = 150000
MADE_BY_MIGRATE = frozenset({"django_migrations", "django_content_type", "auth_permission", "django_session"})


@dataclass(frozen=True, kw_only=True)
class Target:
    """The PostgreSQL database to fill. `beside`: it is built beside and renamed; otherwise in one transaction."""

    address: ConnectionInfo
    exists: bool
    renamed: bool
    server: str


@dataclass(frozen=True, kw_only=True)
class StagingDatabase:
    """A database with the project's schema, not visible to anybody else yet. `shared` is set inside one transaction."""

    address: ConnectionInfo
    processes: int
    shared: Connection | None = None
    _connections: dict[int, Connection] = field(default_factory=dict)

    @contextlib.contextmanager
    def session(self) -> Iterator[Connection]:
        """This process's connection, committed when the block ends unless all of the work is one transaction."""
        if self.shared:
            yield self.shared
            return
        process = os.getpid()
        if process not in self._connections:
            self._connections[process] = self.address.connect()
        connection = self._connections[process]
        try:
            yield connection
            connection.commit()
        except BaseException:
            connection.close()
            self._connections.pop(process, None)
            raise

    def close(self) -> None:
        """Close this process's connection; one that was inherited belongs to the parent."""
        if connection := self._connections.pop(os.getpid(), None):
            connection.close()


def inspect_target(address: ConnectionInfo) -> Target:
    """Look at the target without changing it. Raises PreconditionFailed unless it can be filled."""
    with databases.maintenance_connection(address) as connection:
        version = connection.server_version
        if version < OLDEST_SERVER:
            raise PreconditionFailed(f"The server runs PostgreSQL {version // 10000}; 15 is the oldest that works.")
        exists = databases.exists(connection, address.database)
        may_create = databases.may_create(connection, address.database)
    if not exists and not may_create:
        raise PreconditionFailed(
            f"The database {address} does not exist, and the role {address.user} may not create it.",
            f"As an administrator: CREATE DATABASE {quoted(address.database)} OWNER {quoted(address.user)};",
        )
    if exists:
        require_empty(address, replaced=may_create)
        if not may_create:
            require_rights(address)
    return Target(address=address, exists=exists, renamed=may_create, server=f"{version // 10000}.{version % 10000}")


def require_rights(address: ConnectionInfo) -> None:
    """Refuse a database in which the role may not make tables, or whose tables are not the role's."""
    with contextlib.closing(address.connect()) as connection, connection.cursor() as cursor:
        may_fill = fetch_value(
            cursor,
            "SELECT has_schema_privilege(current_schema(), 'CREATE') AND NOT EXISTS (SELECT 1 FROM pg_class"
            " WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
            " AND NOT pg_has_role(relowner, 'USAGE'))",
        )
    if not may_fill:
        raise PreconditionFailed(
            f"The role {address.user} may not make tables in {address}, or not change those that are there.",
            f"As an administrator: ALTER DATABASE {quoted(address.database)} OWNER TO {quoted(address.user)};"
            f" or give it a database of its own: CREATE DATABASE … OWNER {quoted(address.user)};",
        )


NOT_OF_AN_EXTENSION = (
    "nspname !~ '^pg_' AND nspname <> 'information_schema' AND NOT EXISTS"
    " (SELECT 1 FROM pg_depend WHERE classid = {catalog}::regclass AND objid = {catalog_oid} AND deptype IN ({kinds}))"
)
TABLES = (
    "SELECT nspname, relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace"
    " WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND "
    + NOT_OF_AN_EXTENSION.format(catalog="'pg_class'", catalog_oid="c.oid", kinds="'e'")
    + " ORDER BY 1, 2"
)
OTHER_OBJECTS = (
    "SELECT nspname, proname || '()' FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace WHERE "
    + NOT_OF_AN_EXTENSION.format(catalog="'pg_proc'", catalog_oid="p.oid", kinds="'e'")
    + " UNION ALL SELECT nspname, typname FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = typnamespace"
    " WHERE typtype IN ('e', 'd', 'r') AND "
    + NOT_OF_AN_EXTENSION.format(catalog="'pg_type'", catalog_oid="t.oid", kinds="'e'")
    + " UNION ALL SELECT nspname, relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace"
    " WHERE relkind = 'S' AND "
    + NOT_OF_AN_EXTENSION.format(catalog="'pg_class'", catalog_oid="c.oid", kinds="'e', 'a', 'i'")
    + " ORDER BY 1, 2"
)
"""Functions, types and sequences of nobody's tables, which would be gone with a database that is replaced."""


def require_empty(address: ConnectionInfo, *, replaced: bool) -> None:
    """Refuse a target that holds rows beyond what `migrate` makes, or anything that is not this project's.

    A database that will be `replaced` by another may have no functions, types or sequences of its own either.
    """
    ours = {model._meta.db_table: model for model in concrete_models()}
    with contextlib.closing(address.connect()) as connection, connection.cursor() as cursor:
        encoding = fetch_value(
            cursor, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()"
        )
        if encoding != "UTF8":
            raise PreconditionFailed(
                f"The database {address} has the encoding {encoding}, which can not hold every text.",
                "Create it anew: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
            )
        cursor.execute(TABLES)
        relations = cursor.fetchall()
        home = fetch_value(cursor, "SELECT current_schema()")
        known = {(home, name) for name in (*ours, "django_migrations")}
        strange = [f"{schema}.{name}" for schema, name in relations if (schema, name) not in known]
        if replaced:
            cursor.execute(OTHER_OBJECTS)
            strange += [f"{schema}.{name}" for schema, name in cursor.fetchall()]
        if strange:
            raise PreconditionFailed(
                f"The database {address} holds what is not this project's: {', '.join(strange[:5])}"
                f"{' …' if len(strange) > 5 else ''}.",
                "Name a database of its own for this project, or drop what is there.",
            )
        rows = {name: fetch_value(cursor, f"SELECT count(*) FROM {quoted(name)}") for _, name in relations}
    filled = {name: count for name, count in rows.items() if count and name not in MADE_BY_MIGRATE}
    filled = ignore_seed_rows(address, filled, ours) if filled else {}
    if filled:
        listed = ", ".join(f"{count} in {name}" for name, count in sorted(filled.items()))
        raise PreconditionFailed(
            f"The database {address} is not empty: rows {listed}.",
            "Name an empty database; this command never adds to rows or replaces them.",
        )


def ignore_seed_rows(
    address: ConnectionInfo, filled: dict[str, int], ours: dict[str, type[models.Model]]
) -> dict[str, int]:
    """`filled` without the tables whose rows are those that `migrate` puts into a new database by itself.

    What that is shows in a database in memory. Rows are told apart by their own columns: keys and times differ.
    """
    with override_database(sqlite_wrapper(":memory:")):
        run_migrations()
        seeds = {name: contents(ours[name]) for name in filled}
    with override_database(address.wrapper()):
        present = {name: contents(ours[name]) for name in filled}
    return {name: count for name, count in filled.items() if not is_within(present[name], seeds[name])}


def contents(model: type[models.Model]) -> list[str]:
    times = (models.DateField, models.TimeField)
    names = [
        column.attname
        for column in model._meta.local_concrete_fields
        if not (column.primary_key or column.remote_field or isinstance(column, times))
    ]
    return [repr(row) for row in model._base_manager.values_list(*names or ["pk"])]


def is_within(present: list[str], seeds: list[str]) -> bool:
    return len(present) <= len(seeds) and set(present) <= set(seeds)


@contextlib.contextmanager
def staging(target: Target, *, rows: int, claims: Claims, locked: bool) -> Iterator[StagingDatabase]:
    """The staging database of `target` for so many `rows`: swapped in when the block ends well, else dropped.

    `locked`: the caller has the lock of the target already.
    """
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(databases.maintenance_connection(target.address))
        if not locked:
            stack.enter_context(databases.locked(connection, target.address.database))
        if target.renamed:
            with staging_database(target, connection, rows, claims) as workspace:
                yield workspace
        else:
            databases.end_leftover_sessions(connection, target.address.database)
            with staging_transaction(target) as workspace:
                yield workspace


@contextlib.contextmanager
def staging_database(target: Target, connection: Connection, rows: int, claims: Claims) -> Iterator[StagingDatabase]:
    live = target.address.database
    new, old = (databases.suffixed_name(live, suffix) for suffix in (NEW_SUFFIX, OLD_SUFFIX))
    owner = str(target.address)
    databases.drop_claimed(connection, claims.left_databases(owner), spared=(live,))
    claims.clear_left_databases(owner)
    description = databases.read_properties(connection, live)
    for name in (new, old):
        require_free(connection, name)
        claims.claim_database(name, target=owner)
    try:
        databases.create_staging(connection, new, description)
        beside = target.address.with_database(new)
        databases.add_extensions(beside, databases.read_extensions(target.address) if target.exists else ())
        with override_database(beside.wrapper()):
            run_migrations()
        with contextlib.closing(StagingDatabase(address=beside, processes=suitable_processes(rows))) as workspace:
            yield workspace
        if target.exists:
            require_empty(target.address, replaced=True)
        with posix_signals.ignore_interrupts():
            rename.rename_databases(
                connection,
                renames=[*([(live, old)] if description else []), (new, live)],
                comments={old: databases.OPS_COMMENT} if description else {},
                live=live,
                description=description,
            )
            # The rows are in place: an empty database that is left over must not look like a failure.
            drop_marked(connection, target, old, claims)
    except BaseException:
        drop_marked(connection, target, new, claims)
        raise


def require_free(connection: Connection, name: str) -> None:
    """Raises PreconditionFailed where a database has the name already, whatever is written on it."""
    if databases.exists(connection, name):
        raise PreconditionFailed(
            f"There is a database {name} already, and the migration needs that name. Nothing was changed.",
            f"Look into it, and drop it if nobody needs it: DROP DATABASE {quoted(name)};",
        )


def drop_marked(connection: Connection, target: Target, name: str, claims: Claims) -> None:
    """Drop what this migration has claimed. Without a connection the next one does."""
    try:
        databases.drop_claimed(connection, [name], spared=(target.address.database,))
    except psycopg2.Error:
        claims.leave_database(name, target=str(target.address))


@contextlib.contextmanager
def staging_transaction(target: Target) -> Iterator[StagingDatabase]:
    with override_database(target.address.wrapper()) as wrapper, transaction.atomic():
        with wrapper.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '10s'")
            run_migrations()
            # The seeds' foreign keys are checked now; TRUNCATE refuses while checks are pending.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET LOCAL TIME ZONE 'UTC'")
        yield StagingDatabase(address=target.address, processes=1, shared=wrapper.connection)
