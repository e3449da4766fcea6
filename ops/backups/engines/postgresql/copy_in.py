"""COPY … FROM STDIN, in one session or in two at the same time.

The server parses rows in the session that loads them, which is most of the work, and one session uses one core.
"""

import contextlib
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import Composable

from ops.backups.compression import IteratorIO
from ops.databases.postgres.queries import cancel_until_done
from ops.utils.streams import BLOCK_SIZE


def copy_blocks(cursor: Cursor, statement: str | Composable, blocks: Iterator[bytes]) -> None:
    """COPY from `blocks`. Raises their error, which psycopg2 loses, or psycopg2's own."""
    stream = IteratorIO(blocks)
    try:
        cursor.copy_expert(statement, stream, size=BLOCK_SIZE)
    except psycopg2.Error:
        if stream.failure:
            raise stream.failure from None
        raise


class SharedRows:
    """Blocks of rows, each for one of several threads. Each thread gets whole rows."""

    def __init__(self, blocks: Generator[bytes]) -> None:
        self._blocks = blocks
        self._turn = threading.Lock()

    def take(self) -> Generator[bytes]:
        """The blocks for one thread."""
        while True:
            with self._turn:
                block = next(self._blocks, b"")
                # The parts of a long row.
                while block and not block.endswith(b"\n"):
                    yield block
                    block = next(self._blocks, b"")
            if not block:
                return
            yield block

    def end(self) -> None:
        """No thread gets another block."""
        with self._turn:
            self._blocks.close()


def copy_shared(mine: Connection, other: Connection, statement: str, blocks: Generator[bytes]) -> None:
    """Execute the COPY `statement` on both connections, without a commit, each with some of `blocks`.

    Raises as `copy_blocks`; then both transactions are incomplete.
    """
    rows = SharedRows(blocks)

    def copy(connection: Connection) -> None:
        with contextlib.closing(rows.take()) as taken, connection.cursor() as cursor:
            try:
                copy_blocks(cursor, statement, taken)
            except BaseException:
                # It may have failed during its turn.
                taken.close()
                rows.end()
                raise

    with ThreadPoolExecutor(1, thread_name_prefix="copy") as pool:
        copying = pool.submit(copy, other)
        try:
            copy(mine)
            copying.result()
        finally:
            cancel_until_done([copying], [other])
