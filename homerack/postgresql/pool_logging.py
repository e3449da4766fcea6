"""Log the events of a pool at DEBUG: connect, check-out, check-in, invalidation, close.

Each line names the connection by the id of its server process (``pg_stat_activity.pid``) and its age.
"""

import logging
import time
from typing import Any

from psycopg2.extensions import connection
from sqlalchemy import event
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

logger = logging.getLogger(__name__)

EVENTS = {
    "connect": "connected",
    "checkout": "checked out",
    "checkin": "checked in",
    "invalidate": "invalidated",
    "close": "closed",
}


def listen(pool: QueuePool, *, name: str) -> None:
    """Log the events of `pool` under `name`, if DEBUG is enabled now.

    Otherwise no listeners are registered, since every request would pay for them.
    """
    if not logger.isEnabledFor(logging.DEBUG):
        return
    event.listen(pool, "connect", _remember)
    for happening, words in EVENTS.items():
        event.listen(pool, happening, _logger_of(words, name))


def _remember(raw: connection, record: ConnectionPoolEntry) -> None:
    record.info["backend"] = raw.info.backend_pid
    record.info["opened"] = time.monotonic()


def _logger_of(words: str, name: str) -> Any:
    def log(_raw: connection | None, record: ConnectionPoolEntry, *more: object) -> None:
        if "backend" in record.info:
            age = time.monotonic() - record.info["opened"]
            cause = "".join(f" ({type(error).__name__})" for error in more if isinstance(error, BaseException))
            logger.debug("pool %s: connection %d %s, %.3f s old%s", name, record.info["backend"], words, age, cause)

    return log
