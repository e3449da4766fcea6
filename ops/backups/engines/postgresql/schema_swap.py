"""A staging schema in the live database, for roles that may not create databases: all in one transaction.

Other sessions see the old schema until the commit. A crash at any moment leaves it unchanged.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import psycopg2
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg2 import errors, sql
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.base import PreviousDatabase, Scratch, SwapStrategy, Tables
from ops.backups.engines.postgresql import dump_loader, table_digests, undo_comment
from ops.backups.engines.postgresql.dump_format import plain_sql_chunks
from ops.backups.engines.postgresql.dump_loader import DumpLoader
from ops.backups.engines.postgresql.live_rows import copy_rows
from ops.backups.engines.postgresql.table_digests import ASIDE_SCHEMA, UNDO_SCHEMA
from ops.backups.manifest import Kind
from ops.databases.override import override_database
from ops.databases.postgres.connection import ConnectionInfo, server_message
from ops.databases.postgres.databases import has_server_access
from ops.databases.postgres.queries import fetch_column, fetch_value
from ops.errors import OpsError, PreconditionFailed
from ops.utils import posix_signals
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage

LOCK_WAIT = "10s"
MAY_REPLACE = (
    "SELECT has_database_privilege(current_database(), 'CREATE') AND pg_has_role(nspowner, 'USAGE')"
    " FROM pg_namespace WHERE nspname = 'public'"
)
OTHER_SCHEMAS = (
    "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN"
    " ('information_schema', 'public', %s) ORDER BY 1"
)
RIGHTS = (
    "SELECT CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee) END, privilege_type FROM pg_namespace,"
    " aclexplode(nspacl) WHERE nspname = %s AND grantee <> nspowner"
)
SIZE = (
    "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class"
    " WHERE relkind IN ('r', 'm') AND relnamespace = to_regnamespace(%s)"
)


class UnmanagedTransactionWrapper(DatabaseWrapper):
    """A connection that Django neither commits nor closes."""

    def close(self) -> None:
        """Do nothing: `SchemaSwap` closes the connection."""


class ScratchSchema(Scratch):
    """An empty schema ``public`` in the transaction of `connection`."""

    def __init__(self, address: ConnectionInfo, tools_directory: Path | None) -> None:
        self.name = f"{address.database} (in a transaction)"
        self._tools_directory = tools_directory
        plain = address.wrapper()
        # Without autocommit Django makes savepoints only.
        self._wrapper = UnmanagedTransactionWrapper({**plain.settings_dict, "AUTOCOMMIT": False}, "default")
        self._wrapper.ensure_connection()
        self.connection: Connection = self._wrapper.connection
        dump_loader.set_up(self.connection)
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_WAIT])
            self._search_path: str = fetch_value(cursor, "SHOW search_path")
        self.connection.commit()

    def load(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        chunks = plain_sql_chunks(stream, kind=kind, tools_directory=self._tools_directory)
        loader = DumpLoader(self.connection, on_progress=on_progress)
        dump_loader.run_all(self.connection, loader.load(chunks), on_progress)
        with self.connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            self._restore_path(cursor)
        self.analyze(on_progress)
        return loader.rows

    @contextlib.contextmanager
    def session(self) -> Iterator[Connection]:
        yield self.connection
        with self.connection.cursor() as cursor:
            self._restore_path(cursor)

    def analyze(self, on_progress: ProgressCallback) -> None:
        """Not with a superuser's rights: the expressions of indexes are executed."""
        on_progress(Progress(stage=Stage.LOAD, item="ANALYZE"))
        with self.connection.cursor() as cursor:
            if not has_server_access(self.connection):
                analyze(cursor)

    def _restore_path(self, cursor: Cursor) -> None:
        # Dumps and digests set an empty search path.
        cursor.execute("SELECT set_config('search_path', %s, false)", [self._search_path])

    def tables(self, on_progress: ProgressCallback) -> Tables:
        with self.connection.cursor() as cursor:
            found = table_digests.read_digests(cursor, stage=Stage.COMPARE, on_progress=on_progress)
            self._restore_path(cursor)
        return found

    def as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        return override_database(self._wrapper)

    def keep(self) -> None:
        self.connection.commit()

    def copy_live_rows(self, tables: Collection[str]) -> tuple[str, ...]:
        with self.connection.cursor() as cursor:
            return copy_rows(cursor, cursor, tables, renamed={"public": ASIDE_SCHEMA})

    def swap(self, *, run: str, backup: str) -> None:
        comment = undo_comment.format_comment(run=run, backup=backup)
        try:
            with posix_signals.ignore_interrupts(), self.connection.cursor() as cursor:
                cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(UNDO_SCHEMA)))
                rename(cursor, ASIDE_SCHEMA, UNDO_SCHEMA)
                comment_on(cursor, UNDO_SCHEMA, comment)
                end_own_sessions(cursor)
                self.connection.commit()
        except psycopg2.Error as error:
            raise OpsError(f"The restored tables could not be swapped in: {server_message(error)}.") from error


def require_rights(cursor: Cursor, address: ConnectionInfo) -> None:
    """Raises PreconditionFailed with what to ask for unless the schema ``public`` is the role's, and all there is."""
    if not fetch_value(cursor, MAY_REPLACE):
        name = fetch_value(cursor, "SELECT current_user")
        role = quoted(name)
        raise PreconditionFailed(
            f"The role {name} may neither create databases nor replace the schema public of {address}."
            " Nothing was changed.",
            f"As an administrator, one of the two: ALTER ROLE {role} CREATEDB;"
            f" or ALTER DATABASE {quoted(address.database)} OWNER TO {role};",
        )
    if others := fetch_column(cursor, OTHER_SCHEMAS, [UNDO_SCHEMA]):
        raise PreconditionFailed(
            f"{address} has other schemas than public ({', '.join(others)}), which can only be replaced with the"
            " database. Nothing was changed.",
            f"As an administrator: ALTER ROLE {quoted(fetch_value(cursor, 'SELECT current_user'))} CREATEDB;",
        )


def replace_public_schema(cursor: Cursor) -> None:
    """Rename ``public``, and create an empty schema ``public`` with the same privileges."""
    rename(cursor, "public", ASIDE_SCHEMA)
    cursor.execute("CREATE SCHEMA public")
    cursor.execute(RIGHTS, [ASIDE_SCHEMA])
    for grantee, privilege in cursor.fetchall():
        whom = sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC")
        cursor.execute(sql.SQL("GRANT {} ON SCHEMA public TO {}").format(sql.SQL(privilege), whom))
    move_extensions(cursor, ASIDE_SCHEMA, "public")


def move_extensions(cursor: Cursor, old: str, new: str) -> None:
    """Extensions are not replaced: dumps do not contain their objects."""
    query = "SELECT extname FROM pg_extension WHERE extnamespace = %s::regnamespace ORDER BY 1"
    for name in fetch_column(cursor, query, [old]):
        statement = sql.SQL("ALTER EXTENSION {} SET SCHEMA {}").format(sql.Identifier(name), sql.Identifier(new))
        try:
            cursor.execute(statement)
        except (errors.InsufficientPrivilege, errors.FeatureNotSupported) as error:
            raise PreconditionFailed(
                f"The extension {name} is in the schema public and cannot be moved: {server_message(error)}."
                " Nothing was changed.",
                "As an administrator: ALTER ROLE … CREATEDB, so that a separate database can be created.",
            ) from error


def analyze(cursor: Cursor) -> None:
    """Collect statistics on what was loaded; the renamed tables may be damaged."""
    query = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'"
    if tables := fetch_column(cursor, query):
        cursor.execute(f"ANALYZE {', '.join(tables)}")


def rename(cursor: Cursor, old: str, new: str) -> None:
    cursor.execute(sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))


def comment_on(cursor: Cursor, schema: str, text: str | None) -> None:
    cursor.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(schema), sql.Literal(text)))


def end_own_sessions(cursor: Cursor) -> None:
    """End the other sessions of this role in the database; they may have cached the old tables."""
    cursor.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND usename = current_user"
    )


class SchemaSwap(SwapStrategy):
    """Replaces the schema ``public`` of the database at `address`."""

    def __init__(self, address: ConnectionInfo, *, tools_directory: Path | None) -> None:
        self._address = address
        self._tools_directory = tools_directory

    @contextlib.contextmanager
    def scratch(self, *, name: str = "", for_swap: bool) -> Iterator[Scratch]:
        """An empty schema ``public`` in a transaction, which is rolled back unless it is swapped in."""
        if name:
            raise PreconditionFailed(
                f"The role may not create the database {name}. Nothing was changed.",
                f"As an administrator: ALTER ROLE {quoted(self._address.user)} CREATEDB;",
            )
        if for_swap:
            self.previous_database()
        scratch = ScratchSchema(self._address, self._tools_directory)
        try:
            with scratch.connection.cursor() as cursor:
                require_rights(cursor, self._address)
                replace_public_schema(cursor)
            yield scratch
        finally:
            scratch.connection.close()

    def previous_database(self) -> PreviousDatabase | None:
        with contextlib.closing(self._address.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = %s",
                [UNDO_SCHEMA],
            )
            if not (row := cursor.fetchone()):
                return None
            return undo_comment.parse_comment(UNDO_SCHEMA, row[0], int(fetch_value(cursor, SIZE, [UNDO_SCHEMA])))

    @contextlib.contextmanager
    def previous_as_staging(self) -> Iterator[Scratch]:
        """The previous schema under the name ``public``, in a transaction that `Scratch.swap` commits."""
        self.require_previous()
        scratch = ScratchSchema(self._address, self._tools_directory)
        try:
            with scratch.connection.cursor() as cursor:
                rename(cursor, "public", ASIDE_SCHEMA)
                rename(cursor, UNDO_SCHEMA, "public")
                move_extensions(cursor, ASIDE_SCHEMA, "public")
                comment_on(cursor, "public", None)
            yield scratch
        except psycopg2.Error as error:
            raise OpsError(f"The previous tables could not be swapped in: {server_message(error)}.") from error
        finally:
            scratch.connection.close()

    def previous_as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        self.require_previous()
        session = f"{undo_comment.READ_ONLY} -c search_path={UNDO_SCHEMA}"
        return override_database(self._address.with_session(session).wrapper())

    def drop_previous(self) -> None:
        self.require_previous()
        with contextlib.closing(self._address.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(UNDO_SCHEMA)))
