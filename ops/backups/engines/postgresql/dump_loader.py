"""Loads a dump: tables and rows in one transaction that is committed only after the dump's end was seen."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, cast

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.postgresql import dump_policy
from ops.backups.engines.postgresql.dump_reader import NAME, CopyBlock, DumpReader, Statement
from ops.databases.postgres.connection import server_message
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed
from ops.utils.progress import Progress, ProgressCallback, Stage

PIECE = 1 << 20
"""Bytes."""
BUILDERS = 2
"""Connections that build indexes at the same time; PostgreSQL adds workers of its own."""
SETTINGS = {
    "maintenance_work_mem": "256MB",
    "synchronous_commit": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
"""The commit of the swap, which is synchronous, makes all of it durable."""
TABLE = re.compile(rb"CREATE (?:UNLOGGED )?TABLE (?P<name>" + NAME + rb"(?:\." + NAME + rb")?) \(")
PARTITIONED = re.compile(rb"\)\s*PARTITION BY [^;]*;$")
INDEX = re.compile(rb"CREATE (?:UNIQUE )?INDEX ")
CONSTRAINT = re.compile(
    rb"ALTER TABLE (?:ONLY )?(?P<table>\S+)\s+ADD CONSTRAINT " + NAME + rb" (?P<kind>PRIMARY|UNIQUE|EXCLUDE|FOREIGN)\b"
)


class DumpLoader:
    """One dump on its way into one database. `rows` by table, as far as it has come."""

    def __init__(self, connection: Connection, *, on_progress: ProgressCallback) -> None:
        self._connection = connection
        self._report = on_progress
        self._own_tables: set[str] = set()
        self.rows: dict[str, int] = {}

    def load(self, pieces: Iterator[bytes]) -> list[Statement]:
        """Run the statements and copy the rows; nothing is committed. Returns what is to be built upon the rows.

        Raises ArtifactInvalid, and whatever `pieces` raise.
        """
        later: list[Statement] = []
        reader = DumpReader(pieces)
        with self._connection.cursor() as cursor:
            for item in reader:
                if isinstance(item, CopyBlock):
                    while later:
                        execute(cursor, later.pop(0))
                    self._copy(cursor, item, reader)
                elif dump_policy.allow_statement(item):
                    if later or is_post_data(item):
                        later.append(item)
                    else:
                        self._run(cursor, item)
        return later

    def _run(self, cursor: Cursor, statement: Statement) -> None:
        execute(cursor, statement)
        if (table := TABLE.match(statement.text)) and not PARTITIONED.search(statement.text):
            self._own_tables.add(table["name"].decode())

    def _copy(self, cursor: Cursor, block: CopyBlock, reader: DumpReader) -> None:
        # A table that was made in this transaction can take rows that need no vacuum later.
        freeze = " WITH (FREEZE)" if block.name in self._own_tables else ""
        source = ErrorCapturingReader(block, lambda: self._tell(block, reader))
        try:
            # Only read() is called; the stubs ask for more.
            cursor.copy_expert(block.statement.rstrip(";") + freeze, cast("Any", source), size=PIECE)
        except psycopg2.Error as error:
            if source.error:
                raise source.error from None
            raise translate_error(error, f"the rows of {block.table}") from error
        self.rows[block.table] = block.rows

    def _tell(self, block: CopyBlock, reader: DumpReader) -> None:
        self._report(Progress(stage=Stage.LOAD, item=block.table, done=reader.size))


class ErrorCapturingReader:
    """A block's rows for psycopg2, which loses the error that reading them raised."""

    def __init__(self, block: CopyBlock, tell: Callable[[], None]) -> None:
        self._block = block
        self._tell = tell
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            self._tell()
            return self._block.read(size)
        except BaseException as error:
            self.error = error
            raise


def is_post_data(statement: Statement) -> bool:
    """It makes an index or a constraint over rows: in a dump all that follows is about finished tables."""
    return bool(INDEX.match(statement.text) or CONSTRAINT.match(statement.text))


def execute(cursor: Cursor, statement: Statement) -> None:
    try:
        cursor.execute(statement.text)
    except psycopg2.Error as error:
        raise translate_error(error, statement.beginning) from error


def translate_error(error: psycopg2.Error, what: str) -> OpsError:
    """The server's refusal of `what` as an error for a person."""
    words = server_message(error)
    if isinstance(error, errors.DiskFull):
        return OpsError(
            f"The server's disk is full: {words}. What had been loaded is gone again.",
            "Make room on the server's disk, and run the command again.",
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return PreconditionFailed(
            f"The role may not do what the dump needs: {words} ({what}).",
            "An extension has to be made by an administrator first: psql -d template1 -c 'CREATE EXTENSION …'"
            if "extension" in words
            else "Restore as the role that owns the database.",
        )
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        return OpsError(f"The server gave up: {words} (at: {what}). What had been loaded is gone again.")
    return ArtifactInvalid(f"The dump could not be loaded: {words} (at: {what}).")


def set_up(connection: Connection) -> None:
    """Settings of a session that loads."""
    with connection.cursor() as cursor:
        for name, value in SETTINGS.items():
            cursor.execute("SELECT set_config(%s, %s, false)", [name, value])


def run_all(connection: Connection, statements: Iterable[Statement], on_progress: ProgressCallback) -> None:
    """Run them in turn on `connection`."""
    with connection.cursor() as cursor:
        for statement in statements:
            on_progress(Progress(stage=Stage.LOAD, item=statement.beginning))
            execute(cursor, statement)


def build_parallel(
    connect: Callable[[], Connection], statements: list[Statement], on_progress: ProgressCallback
) -> None:
    """Run what is built upon the rows: neighbours that do not stand in each other's way on several connections."""
    for together, group in groupby(statements, key=lambda statement: bool(INDEX.match(statement.text))):
        wave = list(group)
        if not together or len(wave) == 1:
            with contextlib.closing(connect()) as connection:
                run_all(connection, wave, on_progress)
                connection.commit()
            continue
        build_batch(connect, wave, on_progress)


def build_batch(connect: Callable[[], Connection], wave: list[Statement], on_progress: ProgressCallback) -> None:
    def work(statement: Statement) -> None:
        with contextlib.closing(connect()) as connection:
            run_all(connection, [statement], on_progress)
            connection.commit()

    with ThreadPoolExecutor(max_workers=BUILDERS) as pool:
        for outcome in [pool.submit(work, statement) for statement in wave]:
            outcome.result()
