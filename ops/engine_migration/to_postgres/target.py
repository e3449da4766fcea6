"""The target in PostgreSQL, filled through a staging database that is swapped in, or in one transaction."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from django.db import Error as DatabaseError
from django.db import models, transaction
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.postgresql.undo_comment import find_previous_schema
from ops.databases.leftovers import Claims
from ops.databases.migration_state import run_migrations
from ops.databases.override import override_database, sqlite_wrapper
from ops.databases.postgres import databases, lock, rename
from ops.databases.postgres.connection import RUN_AGAIN, ConnectionInfo, Session, server_message
from ops.databases.postgres.differences import NotKept
from ops.databases.postgres.kept_properties import create_schemas, keep_properties, list_of_names
from ops.databases.postgres.lock import OutcomeUnknown
from ops.databases.postgres.properties import DatabaseProperties, read_live
from ops.databases.postgres.queries import fetch_row, fetch_value
from ops.databases.postgres.writable import require_writable
from ops.engine_migration.names import rows_in, table_in_postgres, table_in_sqlite
from ops.engine_migration.planner import concrete_models
from ops.engine_migration.sessions import OLDEST_SERVER, PostgresDatabase
from ops.engine_migration.workers import suitable_processes
from ops.errors import OpsError, PreconditionFailed
from ops.utils import posix_signals
from ops.utils.formatting import pluralize
from ops.utils.identifiers import quoted

NEW_SUFFIX = "_ops_new"
LOOK_AT_TARGET = "It is as before, or complete. Run the command again: it finds out, and changes no filled database."
MADE_BY_MIGRATE = frozenset({"django_migrations", "django_content_type", "auth_permission", "django_session"})


@dataclass(frozen=True, kw_only=True)
class Target:
    """The PostgreSQL database to fill. `renamed`: through a staging database; otherwise in one transaction."""

    address: ConnectionInfo
    exists: bool
    renamed: bool
    server: str


@dataclass(frozen=True, kw_only=True)
class StagingDatabase(PostgresDatabase):
    """A database with the project's schema that is not live yet."""

    not_kept: list[NotKept] = field(default_factory=list)
    """After the swap: properties of the empty database that this one could not get."""


def inspect_target(address: ConnectionInfo) -> Target:
    """Check the target without changing it. Raises PreconditionFailed unless it can be filled."""
    with databases.maintenance_connection(address) as connection:
        # What is checked here has to be true of the server that the migration changes.
        address = address.on_server_of(connection)
        version = connection.server_version
        if version < OLDEST_SERVER:
            raise PreconditionFailed(f"The server runs PostgreSQL {version // 10000}; 15 or newer is required.")
        require_writable(connection, str(address))
        require_free_names(connection)
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


def require_free_names(connection: Connection) -> None:
    """Raises PreconditionFailed where a model's table would be hidden by one of PostgreSQL itself."""
    models = {table_in_postgres(model): model for model in concrete_models()}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relname = ANY(%s)",
            [list(models)],
        )
        for (name,) in cursor.fetchall():
            raise PreconditionFailed(
                f"{models[name]._meta.label} has the table {name}, and PostgreSQL has a system table of that name.",
                "Rename it in the model (db_table), and migrate the file with Django first.",
            )


def require_rights(address: ConnectionInfo) -> None:
    """Raises PreconditionFailed unless the role can create tables and owns those that exist."""
    with contextlib.closing(address.connect()) as connection, connection.cursor() as cursor:
        path, schema = fetch_row(cursor, "SELECT current_setting('search_path'), current_schema()")
        if schema is None:
            name, role = (quoted(text) for text in (first_schema(path, address.user), address.user))
            raise PreconditionFailed(
                f"The search_path of {address.user} in {address} names no schema that exists: {path or 'it is empty'}.",
                f"As an administrator, in that database: CREATE SCHEMA {name} AUTHORIZATION {role};",
            )
        may_fill = fetch_value(
            cursor,
            "SELECT has_schema_privilege(current_schema(), 'CREATE') AND NOT EXISTS (SELECT 1 FROM pg_class"
            " WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind = 'r'"
            " AND NOT pg_has_role(relowner, 'USAGE'))",
        )
    if not may_fill:
        raise PreconditionFailed(
            f"The role {address.user} cannot create tables in {address}, or does not own those in it.",
            f"As an administrator: ALTER DATABASE {quoted(address.database)} OWNER TO {quoted(address.user)};"
            f" or create a separate database: CREATE DATABASE … OWNER {quoted(address.user)};",
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
"""Functions, types and sequences that belong to no table. They would be lost when the database is replaced."""


def require_empty(address: ConnectionInfo, *, replaced: bool) -> None:
    """Raises PreconditionFailed for rows that `migrate` does not create, and for objects of other programs.

    A database that will be `replaced` must not have other functions, types or sequences either.
    """
    own_models = {table_in_postgres(model): model for model in concrete_models()}
    with contextlib.closing(address.connect()) as connection, connection.cursor() as cursor:
        require_writable(connection, str(address))
        encoding = fetch_value(
            cursor, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()"
        )
        if encoding != "UTF8":
            raise PreconditionFailed(
                f"The database {address} has the encoding {encoding}, which cannot store all characters.",
                "Recreate it: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
            )
        previous = previous_schema(cursor)
        if previous and replaced:
            raise PreconditionFailed(
                f"The schema {previous} of {address} is the previous database of a restore, which would be lost:"
                " the migration replaces the database.",
                f"If nobody needs it: DROP SCHEMA {quoted(previous)} CASCADE;",
            )
        cursor.execute(TABLES)
        relations = [relation for relation in cursor.fetchall() if relation[0] != previous]
        schema = fetch_value(cursor, "SELECT current_schema()")
        known = {(schema, name) for name in (*own_models, "django_migrations")}
        foreign_objects = [".".join(relation) for relation in relations if relation not in known]
        if replaced:
            cursor.execute(OTHER_OBJECTS)
            foreign_objects += map(".".join, cursor.fetchall())
        if foreign_objects:
            raise PreconditionFailed(
                f"The database {address} contains objects of other programs: {', '.join(foreign_objects[:5])}"
                f"{' …' if len(foreign_objects) > 5 else ''}.",
                "Specify a separate database for this project, or drop these objects.",
            )
        rows = {name: fetch_value(cursor, f"SELECT count(*) FROM {quoted(name)}") for _, name in relations}
    filled = {name: count for name, count in rows.items() if count and name not in MADE_BY_MIGRATE}
    filled = ignore_seed_rows(address, filled, own_models) if filled else {}
    if filled:
        listed = ", ".join(f"{pluralize(count, 'row')} in {name}" for name, count in sorted(filled.items()))
        raise PreconditionFailed(
            f"The database {address} is not empty: {listed}.",
            "Specify an empty database. This command never changes existing rows.",
        )


def previous_schema(cursor: Cursor) -> str:
    """The schema that a restore without CREATEDB has kept, or ''."""
    with contextlib.suppress(PreconditionFailed):  # an unrelated schema of that name
        if previous := find_previous_schema(cursor):
            return previous.name
    return ""


def ignore_seed_rows(
    address: ConnectionInfo, filled: dict[str, int], own_models: dict[str, type[models.Model]]
) -> dict[str, int]:
    """`filled` without the tables that only have rows which `migrate` creates in a new database.

    An in-memory database shows which these are. Rows are compared without keys and times, which differ.
    """
    with override_database(sqlite_wrapper(":memory:")):
        run_migrations()
        seeds = {name: contents(table_in_sqlite(own_models[name]), own_models[name]) for name in filled}
    with override_database(address.wrapper()):
        present = {name: contents(name, own_models[name]) for name in filled}
    return {name: count for name, count in filled.items() if not is_within(present[name], seeds[name])}


def contents(table: str, model: type[models.Model]) -> list[str]:
    times = (models.DateField, models.TimeField)
    names = [
        column.attname
        for column in model._meta.local_concrete_fields
        if not (column.primary_key or column.remote_field or isinstance(column, times))
    ]
    return [repr(row) for row in rows_in(table, model).values_list(*names or ["pk"])]


def is_within(present: list[str], seeds: list[str]) -> bool:
    return len(present) <= len(seeds) and set(present) <= set(seeds)


@contextlib.contextmanager
def open_staging(
    target: Target, *, rows: int, claims: Claims, locked: bool, rehearsal: bool
) -> Iterator[StagingDatabase]:
    """A staging database for so many `rows`: swapped in when the block ends without an error, else dropped.

    Within the block it is "default".
    `locked`: the caller holds the lock of the target already. After a `rehearsal` it is dropped in any case.
    """
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(databases.maintenance_connection(target.address))
        if not locked:
            stack.enter_context(lock.locked(connection, target.address.database))
        if target.renamed:
            with open_staging_database(target, connection, rows, claims, rehearsal=rehearsal) as database:
                yield database
        else:
            databases.end_leftover_sessions(connection, target.address.database)
            with open_staging_transaction(target, claims, rehearsal=rehearsal) as database:
                yield database


@contextlib.contextmanager
def open_staging_database(
    target: Target, connection: Session, rows: int, claims: Claims, *, rehearsal: bool
) -> Iterator[StagingDatabase]:
    live = target.address.database
    new, old = (databases.suffixed_name(live, suffix) for suffix in (NEW_SUFFIX, databases.EMPTIED))
    owner = str(target.address)
    left = claims.left_databases([name for name in (new, old) if databases.exists(connection, name)])
    databases.drop_claimed(connection, left, spared=(live,))
    claims.clear_left_databases(owner)
    description = read_live(connection, target.address)
    for name in (new, old):
        databases.claim(connection, name, claims, target=owner)
    try:
        # A server that stops loses this database only; the commit of the swap waits for all that was written before.
        address = target.address.with_database(new).with_session("-c synchronous_commit=off")
        databases.create(connection, address, description)
        keep(address, description, live=live)
        address = with_search_path(address, target)
        with (
            override_database(address.wrapper()),
            contextlib.closing(StagingDatabase(address=address, processes=suitable_processes(rows))) as database,
        ):
            run_migrations()
            yield database
            database.not_kept.extend(keep(address, read_live(connection, target.address), live=live))
        if rehearsal:
            databases.discard(connection, new, claims, spared=(live,), target=owner)
            return
        if target.exists:
            require_empty(target.address, replaced=True)
        with posix_signals.ignore_interrupts():
            try:
                rename.rename_databases(
                    connection,
                    target.address,
                    renames=[*([(live, old)] if description else []), (new, live)],
                    comments={old: databases.OPS_COMMENT} if description else {},
                    live=live,
                    description=description,
                )
            except OutcomeUnknown:
                require_done(target, claims)
            # The migration is done: an empty database that is left over is not a failure.
            databases.discard(connection, old, claims, spared=(live,), target=owner)
    except BaseException:
        databases.discard(connection, new, claims, spared=(live,), target=owner)
        raise


def require_done(target: Target, claims: Claims) -> None:
    """Raises OpsError unless the cut-over whose session was lost at its COMMIT was done, or OutcomeUnknown."""
    if not is_filled(target.address, claims.is_marked, renamed=target.renamed):
        raise OpsError(
            "The server changed at the cut-over, and the server that answers now does not have the migrated database."
            f" The database {target.address} is unchanged.",
            RUN_AGAIN,
        )


def is_filled(address: ConnectionInfo, is_marked: Callable[[], bool], *, renamed: bool) -> bool:
    """Whether the database at `address` is marked, on the server that takes writes, after a lost COMMIT has ended.

    `is_marked` asks what is "default"; `renamed` is as in `Target`. Raises OutcomeUnknown.
    """
    address = address.on_any_server()

    def connect() -> AbstractContextManager[Session]:
        if renamed:
            return databases.maintenance_connection(address)
        return contextlib.closing(address.connect(autocommit=True))

    found = lock.after_lost_commit(connect, address.database, within=lock.LONGEST_FAILOVER, hint=LOOK_AT_TARGET)
    with found as connection:
        if not databases.exists(connection, address.database):
            return False
        try:
            with override_database(address.on_server_of(connection).wrapper()):
                return is_marked()
        except DatabaseError as error:
            raise OutcomeUnknown.because(server_message(error), LOOK_AT_TARGET) from error


def with_search_path(new: ConnectionInfo, target: Target) -> ConnectionInfo:
    """The `new` database with the schema in which the target's sessions create tables, and their search_path.

    A search_path in the URL or of the role may name a schema that a new database lacks; the target's own is not that of
    a database with another name.
    """
    path, schema = search_path(target.address) if target.exists else ("", "")
    own_path, own_schema = search_path(new)
    path = path or own_path
    schema = schema or own_schema or first_schema(path, new.user)
    if path != own_path:
        escaped = path.replace("\\", "\\\\").replace(" ", "\\ ")
        # Not by `with_session`, because the project's own session replaces what that adds.
        options = f"{new.options.get('options', '')} -c search_path={escaped}".strip()
        new = replace(new, options={**new.options, "options": options})
    if schema == own_schema:
        return new
    with contextlib.closing(new.connect(autocommit=True)) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    return new


def search_path(address: ConnectionInfo) -> tuple[str, str]:
    """The search_path of a new session, and the schema in which it creates tables, or ''."""
    with contextlib.closing(address.connect()) as connection, connection.cursor() as cursor:
        path, schema = fetch_row(cursor, "SELECT current_setting('search_path'), coalesce(current_schema(), '')")
    return path, schema


def first_schema(path: str, user: str) -> str:
    """The first schema in `path` that does not depend on the role."""
    names = list_of_names(path)
    return next((name for name in names if name != "$user"), user if names else "public")


def keep(address: ConnectionInfo, properties: DatabaseProperties | None, *, live: str) -> tuple[NotKept, ...]:
    """Give the database at `address` the schemas and the `properties` of the empty database `live`."""
    if properties is None:
        return ()
    with contextlib.closing(address.connect()) as connection:
        create_schemas(connection, properties)
        return keep_properties(connection, properties, live=live)


@contextlib.contextmanager
def open_staging_transaction(target: Target, claims: Claims, *, rehearsal: bool) -> Iterator[StagingDatabase]:
    is_complete = False
    with override_database(target.address.wrapper()) as wrapper:
        wrapper.ensure_connection()
        session = wrapper.connection
        try:
            with transaction.atomic():
                with wrapper.cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = '10s'")
                    run_migrations()
                    # The seeds' foreign keys are checked now; TRUNCATE refuses while checks are pending.
                    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                    cursor.execute("SET LOCAL TIME ZONE 'UTC'")
                yield StagingDatabase(address=target.address, processes=1, shared=session)
                if rehearsal:
                    transaction.set_rollback(True)
                else:
                    with wrapper.cursor() as cursor:
                        lock.announce_commit(cursor, target.address.database)
                    is_complete = True
        except DatabaseError:
            if not (is_complete and session.closed):
                raise
            require_done(target, claims)
