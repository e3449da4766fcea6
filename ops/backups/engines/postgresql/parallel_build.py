"""Builds indexes and keys over loaded rows, on several connections where their order does not matter."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.backups.engines.postgresql.dump_loader import (
    CONSTRAINT,
    INDEX,
    SETTING,
    commit,
    run_all,
    translate_error,
)
from ops.backups.engines.postgresql.dump_reader import Statement
from ops.databases.postgres.queries import cancel_until_done, select
from ops.databases.postgres.refusal import Refused
from ops.utils.progress import ProgressCallback, no_progress

CONNECTIONS = 2
WORKERS = max((os.cpu_count() or 1) // CONNECTIONS - 1, 0)
"""Processes that PostgreSQL may add to each. An index that several build takes a fifth more CPU time."""
LIMIT_WORKERS = """
SELECT set_config(name, least(setting::integer, %s)::text, false)
FROM pg_settings WHERE name = 'max_parallel_maintenance_workers'
"""
Session = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True, kw_only=True)
class Build:
    """A statement that reads and locks one table to build an index. A `shared` lock lets others build there too."""

    statement: Statement
    table: bytes
    shared: bool

    def excludes(self, other: "Build") -> bool:
        return self.table == other.table and not (self.shared and other.shared)


def as_build(statement: Statement) -> Build | None:
    """None for other statements.

    A foreign key is one of those: two of them could wait for each other's tables. So could two exclusion constraints,
    whose expressions may call functions that read other tables.
    """
    if index := INDEX.match(statement.text):
        return Build(statement=statement, table=index["table"], shared=True)
    constraint = CONSTRAINT.match(statement.text)
    if constraint and constraint["kind"] in {b"PRIMARY", b"UNIQUE"}:
        return Build(statement=statement, table=constraint["table"], shared=False)
    return None


def split(statements: Sequence[Statement]) -> tuple[Sequence[Statement], Sequence[Statement]]:
    """Those up to the last one that builds an index, and those after it, which run one after the other."""
    end = max((number for number, statement in enumerate(statements, 1) if as_build(statement)), default=0)
    return statements[:end], statements[end:]


def group(statements: Sequence[Statement]) -> Iterator[list[Statement]]:
    """Successive statements of the same kind: keys, indexes, others.

    No key needs another, and no index does. An index may need a key: the function in its expression may have a query
    that is valid only with the primary key of a table (GROUP BY).
    """

    def kind(statement: Statement) -> bool | None:
        build = as_build(statement)
        return build.shared if build else None

    return (list(found) for _, found in groupby(statements, key=kind))


class Builder:
    """Executes the statements after the rows. `settings` are those of the dump, which each `session` needs.

    With another search path, a name in an expression could be that of another function.
    """

    def __init__(self, session: Session, settings: Sequence[Statement], on_progress: ProgressCallback) -> None:
        self._session = session
        self._settings = [*settings]
        self._report = on_progress

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Connection]:
        with self._session() as connection:
            run_all(connection, self._settings, no_progress)
            yield connection

    def build(self, statements: Sequence[Statement]) -> None:
        """Execute the statements, each in a transaction of its own.

        Successive ones for keys, and those for indexes, run in parallel. Every other statement may need those before
        it, and runs alone.
        """
        for found in group(statements):
            if builds := [build for statement in found if (build := as_build(statement))]:
                Batch(builds).run(self._connect, self._report)
                continue
            with self._connect() as connection:
                for statement in found:
                    run_all(connection, [statement], self._report)
                    commit(connection, statement.beginning)
            self._settings += [statement for statement in found if SETTING.match(statement.text)]


class Batch:
    """Builds that several threads share. No thread takes one that would have to wait for a lock."""

    def __init__(self, builds: list[Build]) -> None:
        self._waiting = builds
        self._running: list[Build] = []
        self._changed = threading.Condition()
        self._connections: list[Connection] = []

    def run(self, session: Session, on_progress: ProgressCallback) -> None:
        """Raises the first error, which ends the other builds, as an interruption does."""
        helpers = min(CONNECTIONS, len(self._waiting)) - 1
        with session() as connection, ThreadPoolExecutor(helpers + 1, thread_name_prefix="builds") as pool:
            working = [pool.submit(self._work, connection, on_progress)]
            working += [pool.submit(self._help, session, on_progress) for _ in range(helpers)]
            try:
                for ended in wait(working, return_when=FIRST_EXCEPTION).done:
                    ended.result()
            finally:
                self._end_all(working)

    def _help(self, session: Session, on_progress: ProgressCallback) -> None:
        """Work on another connection, where the role or the server has one more."""
        with contextlib.suppress(Refused), session() as connection:
            self._work(connection, on_progress)

    def _work(self, connection: Connection, on_progress: ProgressCallback) -> None:
        self._connections.append(connection)
        try:
            select(connection, LIMIT_WORKERS, [WORKERS])
        except psycopg2.Error as error:
            raise translate_error(error, "a limit of workers") from error
        while taken := self._take():
            try:
                run_all(connection, [taken.statement], on_progress)
                commit(connection, taken.statement.beginning)
            finally:
                self._end(taken)

    def _take(self) -> Build | None:
        """The next one that need not wait; None when all are taken."""
        with self._changed:
            while self._waiting:
                for build in self._waiting:
                    if not any(build.excludes(other) for other in self._running):
                        self._waiting.remove(build)
                        self._running.append(build)
                        return build
                self._changed.wait()
        return None

    def _end(self, build: Build) -> None:
        with self._changed:
            self._running.remove(build)
            self._changed.notify_all()

    def _end_all(self, working: Sequence[Future[None]]) -> None:
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()
        cancel_until_done(working, self._connections)
