"""The digests of tables that are loaded already, read in a session of their own while a load goes on."""

import contextlib
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.backups.engines.base import Tables
from ops.backups.engines.postgresql.table_digests import read_digests
from ops.databases.postgres.connection import ConnectionInfo
from ops.databases.postgres.queries import cancel_until_done
from ops.databases.postgres.refusal import Refused
from ops.utils.progress import Stage, no_progress


class EarlyDigests:
    """Reads digests in one thread with the session `connection`, in the order in which they are asked for."""

    def __init__(self, connection: Connection, executor: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._executor = executor
        self._reading: list[Future[Tables]] = []

    def read(self, names: Collection[str]) -> None:
        """Begin to read those of the committed tables with these `names`, again where rows were added since."""
        self._reading.append(self._executor.submit(self._read, names))

    def _read(self, names: Collection[str]) -> Tables:
        with self._connection.cursor() as cursor:
            return read_digests(cursor, stage=Stage.COMPARE, on_progress=no_progress, only=names)

    def collect(self) -> Tables:
        """Those that were asked for; none if one could not be read. All are read after the load then."""
        with contextlib.suppress(psycopg2.Error):
            return {name: digest for reading in self._reading for name, digest in reading.result().items()}
        return {}

    def end(self) -> None:
        """End the query that is running, and begin no other."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        cancel_until_done(self._reading, [self._connection])


class NoDigests(EarlyDigests):
    """Reads none: all are read after the load."""

    def __init__(self) -> None:
        """Nothing is needed."""

    def read(self, names: Collection[str]) -> None:
        """Do nothing."""

    def collect(self) -> Tables:
        return {}


@contextlib.contextmanager
def early_digests(address: ConnectionInfo) -> Iterator[EarlyDigests]:
    """What is not read when the block ends is not read any more. None is read where there is no connection for it.

    Each table is read in a transaction of its own. A session that reads one and waits for the next could wait for a
    statement that has locked the next and waits for the first.
    """
    try:
        connection = address.connect(autocommit=True)
    except Refused:
        # The role or the server has no more of them. If there is another reason, the load meets it too.
        yield NoDigests()
        return
    with (
        contextlib.closing(connection),
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="digests") as executor,
    ):
        digests = EarlyDigests(connection, executor)
        try:
            yield digests
        finally:
            digests.end()
