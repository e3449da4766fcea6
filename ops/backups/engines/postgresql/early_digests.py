"""The digests of tables that are loaded already, read in a session of their own while a load goes on."""

import contextlib
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.backups.engines.base import Tables
from ops.backups.engines.postgresql.table_digests import read_digests
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
        # Each time in a transaction of its own: its lock would keep a primary key from being built.
        with self._connection, self._connection.cursor() as cursor:
            return read_digests(cursor, stage=Stage.COMPARE, on_progress=no_progress, only=names)

    def collect(self) -> Tables:
        """Those that were asked for. Raises psycopg2.Error."""
        return {name: digest for reading in self._reading for name, digest in reading.result().items()}

    def end(self) -> None:
        """End the query that is running, and begin no other."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        while running := [reading for reading in self._reading if not reading.done()]:
            with contextlib.suppress(psycopg2.Error):
                self._connection.cancel()
            # Between two queries nothing is cancelled.
            wait(running, timeout=0.1)


@contextlib.contextmanager
def early_digests(connection: Connection) -> Iterator[EarlyDigests]:
    """What is not read when the block ends is not read any more. Closes `connection`."""
    with (
        contextlib.closing(connection),
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="digests") as executor,
    ):
        digests = EarlyDigests(connection, executor)
        try:
            yield digests
        finally:
            digests.end()
