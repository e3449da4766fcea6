"""Builds indexes and keys over loaded rows, on several connections where their order does not matter."""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby

from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.backups.engines.postgresql.dump_loader import CONSTRAINT, INDEX, run_all
from ops.backups.engines.postgresql.dump_reader import Statement
from ops.databases.postgres.queries import select
from ops.utils.progress import ProgressCallback

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
    """None for other statements. A foreign key is one of those: two of them could wait for each other's tables."""
    if index := INDEX.match(statement.text):
        return Build(statement=statement, table=index["table"], shared=True)
    constraint = CONSTRAINT.match(statement.text)
    if constraint and constraint["kind"] != b"FOREIGN":
        return Build(statement=statement, table=constraint["table"], shared=False)
    return None


def split(statements: Sequence[Statement]) -> tuple[Sequence[Statement], Sequence[Statement]]:
    """Those up to the last one that builds an index, and those after it, which run one after the other."""
    end = max((number for number, statement in enumerate(statements, 1) if as_build(statement)), default=0)
    return statements[:end], statements[end:]


def build(session: Session, statements: Iterable[Statement], on_progress: ProgressCallback) -> None:
    """Execute the statements, each in a transaction of its own.

    Successive ones for indexes, primary keys and unique constraints run in parallel: none of them needs another. Every
    other statement may need those before it, and runs alone.
    """
    for are_builds, group in groupby(statements, key=lambda statement: as_build(statement) is not None):
        if are_builds:
            batch = Batch([found for statement in group if (found := as_build(statement))])
            batch.run(session, on_progress)
        else:
            with session() as connection:
                for statement in group:
                    run_all(connection, [statement], on_progress)
                    connection.commit()


class Batch:
    """Builds that several threads share. No thread takes one that would have to wait for a lock."""

    def __init__(self, builds: list[Build]) -> None:
        self._waiting = builds
        self._running: list[Build] = []
        self._changed = threading.Condition()

    def run(self, session: Session, on_progress: ProgressCallback) -> None:
        connections = min(CONNECTIONS, len(self._waiting))
        with ThreadPoolExecutor(max_workers=connections) as pool:
            for outcome in [pool.submit(self._work, session, on_progress) for _ in range(connections)]:
                outcome.result()

    def _work(self, session: Session, on_progress: ProgressCallback) -> None:
        with session() as connection:
            select(connection, LIMIT_WORKERS, [WORKERS])
            while taken := self._take():
                try:
                    run_all(connection, [taken.statement], on_progress)
                    connection.commit()
                except BaseException:
                    self._give_up()
                    raise
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

    def _give_up(self) -> None:
        with self._changed:
            self._waiting.clear()
