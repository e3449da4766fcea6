"""Loads a dump: its statements in their order, and its rows by COPY. Indexes and keys are left to the caller."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import Composable

from ops.backups.compression import IteratorIO
from ops.backups.engines.postgresql import dump_policy
from ops.backups.engines.postgresql.dump_reader import NAME, CopyBlock, DumpReader, Statement
from ops.backups.engines.postgresql.table_digests import ASIDE_SCHEMA
from ops.databases.postgres.connection import server_message
from ops.databases.postgres.queries import fetch_column
from ops.databases.postgres.refusal import superuser_hint
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed
from ops.utils.progress import Progress, ProgressCallback, Stage
from ops.utils.streams import BLOCK_SIZE

COMMIT_AFTER = 16 << 20
"""Bytes of rows: a commit takes longer than to load a small table."""
SETTINGS = {
    "maintenance_work_mem": "256MB",
    "synchronous_commit": "off",
}
"""The commit of the swap is synchronous again, which makes earlier commits durable."""
MORE_LOCKS = (
    "With thousands of tables in one transaction, the server needs more locks. As an administrator:"
    " ALTER SYSTEM SET max_locks_per_transaction = 512; then restart the server."
)
TABLE_NAME = NAME + rb"(?:\." + NAME + rb")?"
TABLE = re.compile(rb"CREATE (?:UNLOGGED )?TABLE (?P<name>" + TABLE_NAME + rb") \(")
SCHEMA = re.compile(rb"CREATE SCHEMA (?P<name>" + NAME + rb");")
EXTENSION = re.compile(
    rb"CREATE EXTENSION IF NOT EXISTS (?P<name>" + NAME + rb") WITH SCHEMA (?P<schema>" + NAME + rb");"
)
IN_OTHER_SCHEMA = (
    "SELECT 1 FROM pg_extension WHERE quote_ident(extname) = %s"
    f" AND extnamespace NOT IN (to_regnamespace(%s), coalesce(to_regnamespace('{ASIDE_SCHEMA}'), 0))"
)
"""Where the schema is swapped, extensions that the role may not move stay in the one that was set aside."""
POLICY = re.compile(
    rb"CREATE POLICY " + NAME + rb" ON \S+(?: AS RESTRICTIVE)?(?: FOR \w+)?"
    rb" TO (?P<roles>" + NAME + rb"(?:, " + NAME + rb")*)"
)
OF_SUPERUSERS = re.compile(
    r"(?:CREATE|ALTER|COMMENT ON) (?:ACCESS METHOD|EVENT TRIGGER|FOREIGN DATA WRAPPER|OPERATOR (?:CLASS|FAMILY)"
    r"|PUBLICATION|SUBSCRIPTION|TEXT SEARCH (?:PARSER|TEMPLATE)) "
)
"""The owner of a database may make publications, but not of all tables."""
PARTITIONED = re.compile(rb"\)\s*PARTITION BY [^;]*;$")
SETTING = re.compile(rb"SET \w+ = |SELECT pg_catalog\.set_config\('search_path', ")
"""It holds for what follows in the dump, in whatever session that is executed."""
INDEX = re.compile(rb"CREATE (?:UNIQUE )?INDEX " + NAME + rb" ON (?:ONLY )?(?P<table>" + TABLE_NAME + rb") ")
CONSTRAINT = re.compile(
    rb"ALTER TABLE (?:ONLY )?(?P<table>"
    + TABLE_NAME
    + rb")\s+ADD CONSTRAINT "
    + NAME
    + rb" (?P<kind>PRIMARY|UNIQUE|EXCLUDE|FOREIGN)\b"
)


def as_it_is(statement: Statement) -> Statement | None:
    return statement


class DumpLoader:
    """Loads one dump into one database: each statement as `adapt` returns it, or not at all.

    `rows` by table, as far as they are loaded; `settings` are the statements of the dump so far that set parameters of
    the session. With `on_commit` it commits now and then, so that other sessions can read tables while the next ones
    are loaded, and passes it the names of those that it has loaded since.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        on_progress: ProgressCallback,
        adapt: Callable[[Statement], Statement | None] = as_it_is,
        on_commit: Callable[[Collection[str]], None] | None = None,
    ) -> None:
        self._connection = connection
        self._adapt = adapt
        self._report = on_progress
        self._on_commit = on_commit
        self._created: set[str] = set()
        """Tables of the dump, created in the current transaction, as statements name them."""
        self._empty: set[str] = set()
        """Those of earlier transactions that have no rows yet."""
        self._loaded: dict[str, str] = {}
        """The tables loaded in the current transaction, as statements and manifests name them."""
        self._committed_at = 0
        self.rows: dict[str, int] = {}
        self.settings: list[Statement] = []

    def load(self, chunks: Iterator[bytes]) -> list[Statement]:
        """Execute the statements and copy the rows. Returns the statements for indexes and keys.

        The caller commits. Raises ArtifactInvalid, and what `chunks` raises.
        """
        post_data: list[Statement] = []
        reader = DumpReader(chunks)
        with self._connection.cursor() as cursor:
            for item in reader:
                if isinstance(item, CopyBlock):
                    while post_data:
                        execute(cursor, post_data.pop(0))
                        # A table that a key refers to cannot be truncated.
                        self._empty.clear()
                    self._copy(cursor, item)
                    if self._on_commit and reader.size - self._committed_at >= COMMIT_AFTER:
                        commit(self._connection)
                        self._on_commit(self.uncommitted)
                        self._begin_transaction(reader)
                elif dump_policy.allow_statement(item) and (statement := self._adapt(item)):
                    if post_data or is_post_data(statement):
                        post_data.append(statement)
                    else:
                        self._run(cursor, statement)
            require_roles(cursor, post_data)
        return post_data

    @property
    def uncommitted(self) -> Collection[str]:
        """The tables that were loaded since the last commit of `load`."""
        return frozenset(self._loaded.values())

    def _begin_transaction(self, reader: DumpReader) -> None:
        self._empty |= self._created - self._loaded.keys()
        self._created.clear()
        self._loaded.clear()
        self._committed_at = reader.size

    def _run(self, cursor: Cursor, statement: Statement) -> None:
        # The extensions of the live database are there already, with their schemas.
        if schema := SCHEMA.fullmatch(statement.text):
            statement = Statement(b"CREATE SCHEMA IF NOT EXISTS %b;" % schema["name"])
        execute(cursor, statement)
        if SETTING.match(statement.text):
            self.settings.append(statement)
        if extension := EXTENSION.fullmatch(statement.text):
            cursor.execute(IN_OTHER_SCHEMA, [part.decode() for part in extension.group("name", "schema")])
            if cursor.fetchone():
                # The statements that follow refer to it there.
                execute(cursor, Statement(b"ALTER EXTENSION %b SET SCHEMA %b;" % extension.group("name", "schema")))
        if (table := TABLE.match(statement.text)) and not PARTITIONED.search(statement.text):
            self._created.add(table["name"].decode())

    def _copy(self, cursor: Cursor, block: CopyBlock) -> None:
        # COPY FREEZE needs a table that was created or emptied in this transaction; its rows need no vacuum later.
        if block.name in self._empty:
            execute(cursor, Statement(f"TRUNCATE ONLY {block.name}".encode()))
        freeze = " WITH (FREEZE)" if block.name in self._created | self._empty else ""
        self._empty.discard(block.name)
        try:
            copy_blocks(cursor, block.statement.rstrip(";") + freeze, self._reported(block))
        except psycopg2.Error as error:
            raise translate_error(error, f"the rows of {block.table}") from error
        self._loaded[block.name] = block.table
        # The rows of partitions that are loaded through their root are in several blocks.
        self.rows[block.table] = self.rows.get(block.table, 0) + block.rows

    def _reported(self, block: CopyBlock) -> Iterator[bytes]:
        while chunk := block.read(BLOCK_SIZE):
            self._report(Progress(stage=Stage.LOAD, item=block.table, done=block.size))
            yield chunk


def copy_blocks(cursor: Cursor, statement: str | Composable, blocks: Iterator[bytes]) -> None:
    """COPY from `blocks`. Raises their error, which psycopg2 loses, or psycopg2's own."""
    stream = IteratorIO(blocks)
    try:
        cursor.copy_expert(statement, stream, size=BLOCK_SIZE)
    except psycopg2.Error:
        if stream.failure:
            raise stream.failure from None
        raise


def require_roles(cursor: Cursor, statements: Iterable[Statement]) -> None:
    """Raises PreconditionFailed where policies of row security are for roles that the server does not have."""
    policies = [match for statement in statements if (match := POLICY.match(statement.text))]
    named = {role for match in policies for role in match["roles"].decode().split(", ")}
    existing = {*fetch_column(cursor, "SELECT quote_ident(rolname) FROM pg_roles")} if named else set()
    if missing := sorted(named - existing):
        raise PreconditionFailed(
            f"The backup has row security policies for roles that the server does not have: {', '.join(missing)}."
            " Nothing was changed.",
            f"As an administrator: {' '.join(f'CREATE ROLE {role};' for role in missing)}",
        )


def is_post_data(statement: Statement) -> bool:
    """Whether it begins the section post-data of the dump: indexes, constraints and policies over loaded rows."""
    return any(pattern.match(statement.text) for pattern in (INDEX, CONSTRAINT, POLICY))


def execute(cursor: Cursor, statement: Statement) -> None:
    try:
        cursor.execute(statement.text)
    except psycopg2.Error as error:
        raise translate_error(error, statement.beginning) from error


def commit(connection: Connection, what: str = "COMMIT") -> None:
    try:
        connection.commit()
    except psycopg2.Error as error:
        raise translate_error(error, what) from error


def translate_error(error: psycopg2.Error, what: str) -> OpsError:
    """An OpsError for the server's error at `what`."""
    message = server_message(error)
    if isinstance(error, errors.DiskFull):
        return OpsError(
            f"The server's disk is full: {message}. The load was rolled back.",
            "Free some space on the server's disk, and run the command again.",
        )
    if isinstance(error, errors.OutOfMemory):
        return OpsError(f"The server failed: {message} (at: {what}). The load was rolled back.", MORE_LOCKS)
    if isinstance(error, errors.InsufficientPrivilege) and OF_SUPERUSERS.match(what):
        return PreconditionFailed(
            f"Only a superuser may restore a part of the backup: {message} ({what}). Nothing was changed.",
            superuser_hint(),
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return PreconditionFailed(
            f"The role may not do what the dump needs: {message} ({what}).",
            "An administrator has to create the extension first: psql -d template1 -c 'CREATE EXTENSION …'"
            if what.startswith(("CREATE EXTENSION", "COMMENT ON EXTENSION"))
            else "Restore as the role that owns the database.",
        )
    if what.startswith("SECURITY LABEL"):
        return PreconditionFailed(
            f"The server refuses a security label of the backup: {message} ({what}). Nothing was changed.",
            "As an administrator: install the module of the label provider, and load it in all sessions"
            " (session_preload_libraries).",
        )
    if isinstance(error, errors.UntranslatableCharacter):
        return PreconditionFailed(
            f"The database cannot store a character of the dump: {message} (at: {what}). Nothing was changed.",
            "Create the database in UTF-8, and restore again: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0;",
        )
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        return OpsError(f"The server failed: {message} (at: {what}). The load was rolled back.")
    return ArtifactInvalid(f"The dump could not be loaded: {message} (at: {what}).")


def set_up(connection: Connection) -> None:
    """Set the parameters of a session that loads."""
    with connection.cursor() as cursor:
        for name, value in SETTINGS.items():
            cursor.execute("SELECT set_config(%s, %s, false)", [name, value])


def run_all(connection: Connection, statements: Iterable[Statement], on_progress: ProgressCallback) -> None:
    """Execute them one after the other on `connection`."""
    with connection.cursor() as cursor:
        for statement in statements:
            on_progress(Progress(stage=Stage.LOAD, item=statement.beginning))
            execute(cursor, statement)
