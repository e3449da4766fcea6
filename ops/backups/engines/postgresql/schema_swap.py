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

from ops.backups.engines.base import PreviousDatabase, Scratch, SwapStrategy, Tables, require_backed_up
from ops.backups.engines.postgresql import (
    dump_loader,
    kept_objects,
    large_objects,
    public_schema,
    table_digests,
    undo_comment,
)
from ops.backups.engines.postgresql.dump_format import plain_sql_chunks
from ops.backups.engines.postgresql.dump_loader import DumpLoader
from ops.backups.engines.postgresql.left_extensions import LeftExtensions
from ops.backups.engines.postgresql.live_rows import copy_rows
from ops.backups.engines.postgresql.table_digests import ASIDE_SCHEMA, UNDO_SCHEMA
from ops.backups.manifest import Kind
from ops.databases.override import override_database
from ops.databases.postgres import lock
from ops.databases.postgres.connection import ConnectionInfo, Session, server_message
from ops.databases.postgres.databases import has_server_access, how_to_replace
from ops.databases.postgres.differences import NotKept
from ops.databases.postgres.kept_properties import keep_schema_rights
from ops.databases.postgres.properties import DatabaseProperties
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
OTHER_SCHEMAS = """
SELECT nspname FROM pg_namespace AS n
WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public', %s, %s) AND EXISTS (
    SELECT FROM pg_depend AS d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
    AND d.classid <> 'pg_extension'::regclass AND NOT EXISTS (
        SELECT FROM pg_depend AS e WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e'))
ORDER BY 1
"""
"""Schemas with objects that belong to no extension."""


class UnmanagedTransactionWrapper(DatabaseWrapper):
    """A connection that Django neither commits nor closes."""

    def close(self) -> None:
        """Do nothing: `SchemaSwap` closes the connection."""


class ScratchSchema(Scratch):
    """An empty schema ``public`` in the transaction of `connection`."""

    def __init__(self, address: ConnectionInfo, tools_directory: Path | None) -> None:
        self.name = f"{address.database} (in a transaction)"
        self._database = address.database
        self._tools_directory = tools_directory
        self._routines: list[bytes] = []
        """Statements for after the swap."""
        self.except_for: list[str] = []
        """Keys of properties that the previous schema keeps."""
        self.is_previous = False
        self._not_kept: tuple[NotKept, ...] = ()
        plain = address.wrapper()
        # Without autocommit Django makes savepoints only.
        self._wrapper = UnmanagedTransactionWrapper({**plain.settings_dict, "AUTOCOMMIT": False}, "default")
        self._wrapper.ensure_connection()
        self.connection: Session = self._wrapper.connection
        dump_loader.set_up(self.connection)
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_WAIT])
            self._search_path: str = fetch_value(cursor, "SHOW search_path")
        self.connection.commit()

    def load(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        chunks = plain_sql_chunks(stream, kind=kind, tools_directory=self._tools_directory)
        with self.connection.cursor() as cursor:
            existing = kept_objects.list_existing(cursor)
            left = LeftExtensions(cursor)
            loader = DumpLoader(
                self.connection,
                on_progress=on_progress,
                adapt=lambda statement: None if kept_objects.is_about(statement, existing) else left.rename(statement),
            )
            dump_loader.run_all(self.connection, loader.load(chunks), on_progress)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            require_no_other_schemas(cursor, "The backup")
            self._restore_path(cursor)
        self._routines = list(left.routines())
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
        # It may have ended at the commit of `swap`.
        if not self.connection.closed:
            self.connection.commit()

    def copy_live_rows(self, tables: Collection[str]) -> tuple[str, ...]:
        with self.connection.cursor() as cursor:
            return copy_rows(cursor, cursor, tables, renamed={"public": ASIDE_SCHEMA})

    def keep_properties(self) -> tuple[NotKept, ...]:
        """Only those of the objects in the schema: the database stays."""
        self._not_kept = keep_schema_rights(
            self.connection,
            old=ASIDE_SCHEMA,
            new=public_schema.PUBLIC,
            except_for=self.except_for,
            others_are_new=not self.is_previous,
        )
        with self.connection.cursor() as cursor:
            self._restore_path(cursor)
        return self._not_kept

    def swap(self, *, run: str, backup: str, backup_due: bool = False) -> None:  # noqa: ARG002  # no whole database
        comment = undo_comment.format_comment(run=run, backup=backup, not_kept=self._not_kept)
        failing = translate_errors("The restored tables could not be swapped in")
        with failing, posix_signals.ignore_interrupts(), self.connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(UNDO_SCHEMA)))
            public_schema.keep_previous(cursor, UNDO_SCHEMA)
            for routine in self._routines:
                cursor.execute(routine)
            public_schema.comment_on(cursor, UNDO_SCHEMA, comment)
            kept_objects.publish(cursor, new=public_schema.PUBLIC, old=UNDO_SCHEMA)
            public_schema.end_own_sessions(cursor)
            # The load did not wait for the disk, or for a standby.
            cursor.execute("SET LOCAL synchronous_commit TO DEFAULT")
            lock.commit(self.connection, self._database)


@contextlib.contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Raise errors of the server as OpsError. The transaction is lost, so nothing was changed."""
    try:
        yield
    except psycopg2.Error as error:
        hint = dump_loader.MORE_LOCKS if isinstance(error, errors.OutOfMemory) else ""
        raise OpsError(f"{what}: {server_message(error)}.", hint) from error


def require_rights(cursor: Cursor, address: ConnectionInfo) -> None:
    """Raises PreconditionFailed with what to ask for unless the schema ``public`` is the role's, and all there is."""
    if not fetch_value(cursor, MAY_REPLACE):
        name = fetch_value(cursor, "SELECT current_user")
        owner = f"ALTER DATABASE {quoted(address.database)} OWNER TO {quoted(name)};"
        ways = dict.fromkeys((how_to_replace(cursor), owner))
        raise PreconditionFailed(
            f"The role {name} may replace neither {address} as a whole nor its schema public. Nothing was changed.",
            f"As an administrator{', one of the two' if len(ways) == 2 else ''}: {' or '.join(ways)}",
        )
    require_no_other_schemas(cursor, str(address))


def require_no_other_schemas(cursor: Cursor, subject: str) -> None:
    """Raises PreconditionFailed for objects in other schemas, except those of extensions."""
    if others := fetch_column(cursor, OTHER_SCHEMAS, [UNDO_SCHEMA, ASIDE_SCHEMA]):
        raise PreconditionFailed(
            f"{subject} has other schemas than public ({', '.join(others)}), which can only be replaced with the"
            " database. Nothing was changed.",
            f"As an administrator: {how_to_replace(cursor)}",
        )


def analyze(cursor: Cursor) -> None:
    """Collect statistics on what was loaded; the renamed tables may be damaged."""
    query = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'"
    if tables := fetch_column(cursor, query):
        cursor.execute(f"ANALYZE {', '.join(tables)}")


class SchemaSwap(SwapStrategy):
    """Replaces the schema ``public`` of the database at `address`."""

    def __init__(self, address: ConnectionInfo, *, tools_directory: Path | None) -> None:
        self._address = address
        self._tools_directory = tools_directory

    @contextlib.contextmanager
    def scratch(
        self,
        *,
        name: str = "",
        for_swap: bool,
        recorded: DatabaseProperties | None = None,  # noqa: ARG002  # the live database is there
    ) -> Iterator[Scratch]:
        """An empty schema ``public`` in a transaction, which is rolled back unless it is swapped in."""
        if name:
            with contextlib.closing(self._address.connect()) as connection, connection.cursor() as cursor:
                raise PreconditionFailed(
                    f"The role cannot create the database {name}. Nothing was changed.",
                    f"As an administrator: {how_to_replace(cursor)}",
                )
        if for_swap:
            self._require_replaceable()
        scratch = ScratchSchema(self._address, self._tools_directory)
        try:
            with translate_errors("The schema public could not be set aside"), scratch.connection.cursor() as cursor:
                require_rights(cursor, self._address)
                if for_swap:
                    kept_objects.require_replaceable(cursor)
                public_schema.set_aside(cursor, for_swap=for_swap)
                large_objects.set_aside(cursor, ASIDE_SCHEMA)
            yield scratch
        finally:
            scratch.connection.close()

    def _require_replaceable(self) -> None:
        """Raises as `scratch` for a swap. The role may have created databases at the last restore."""
        with contextlib.closing(self._address.connect()) as connection, connection.cursor() as cursor:
            undo_comment.find_previous_schema(cursor)
            require_backed_up(undo_comment.find_backup_due(cursor, self._address.database))

    def previous_database(self) -> PreviousDatabase | None:
        with contextlib.closing(self._address.connect()) as connection, connection.cursor() as cursor:
            return undo_comment.find_previous_schema(cursor)

    @contextlib.contextmanager
    def previous_as_staging(self) -> Iterator[Scratch]:
        """The previous schema under the name ``public``, in a transaction that `Scratch.swap` commits."""
        self.require_previous()
        scratch = ScratchSchema(self._address, self._tools_directory)
        with contextlib.closing(scratch.connection), translate_errors("The previous tables could not be swapped in"):
            with scratch.connection.cursor() as cursor:
                kept_objects.require_replaceable(cursor)
                comment = fetch_value(cursor, "SELECT obj_description(to_regnamespace(%s))", [UNDO_SCHEMA])
                scratch.is_previous = True
                scratch.except_for = undo_comment.parse_not_kept(comment)
                public_schema.set_aside(cursor, for_swap=True, replacement=UNDO_SCHEMA)
                large_objects.set_aside(cursor, ASIDE_SCHEMA)
                large_objects.put_back(cursor, public_schema.PUBLIC)
            yield scratch

    def previous_as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        self.require_previous()
        session = f"{undo_comment.READ_ONLY} -c search_path={UNDO_SCHEMA}"
        # `target_session_attrs=read-write` refuses sessions that are read-only by default.
        with contextlib.closing(self._address.connect()) as connection:
            address = self._address.on_server_of(connection)
        return override_database(address.with_session(session).wrapper())

    def drop_previous(self, previous: PreviousDatabase) -> None:
        with contextlib.closing(self._address.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(previous.name)))
