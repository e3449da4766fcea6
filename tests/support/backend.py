"""Wrappers of our database backend that Django does not use itself, so that a test can break their server."""

import copy
import itertools
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings

from homerack.config.databases import parse_url
from homerack.postgresql.base import DatabaseWrapper

numbers = itertools.count()


def database_settings(url: str, **overrides: Any) -> dict[str, Any]:
    """Settings of a database at `url`: the project's, with `overrides`; dictionaries in them are merged."""
    database = copy.deepcopy(settings.DATABASES["default"])
    target = parse_url(url)
    database |= {key: target[key] for key in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")}
    database["OPTIONS"] = database.get("OPTIONS", {}) | target.get("OPTIONS", {})
    for key, value in overrides.items():
        database[key] = database[key] | value if isinstance(value, dict) else value
    return database


def make_wrapper(url: str, *, alias: str = "", **overrides: Any) -> DatabaseWrapper:
    """A wrapper with a pool of its own (2 + 1, waiting at most half a second), unless `alias` names one."""
    pool = {"SIZE": 2, "MAX_OVERFLOW": 1, "TIMEOUT": 0.5} | overrides.pop("POOL", {})
    retry = {"ATTEMPTS": 3, "DELAY": 0.1} | overrides.pop("CONNECT_RETRY", {})
    database = database_settings(url, POOL=pool, CONNECT_RETRY=retry, **overrides)
    return DatabaseWrapper(database, alias or f"test{next(numbers)}")


def query(wrapper: DatabaseWrapper, sql: str, *params: object) -> Any:
    """The first column of the first row, or None for a statement without rows."""
    with wrapper.cursor() as cursor:
        cursor.execute(sql, params or None)
        return cursor.fetchone()[0] if cursor.description else None


def backend_id(wrapper: DatabaseWrapper) -> int:
    return int(query(wrapper, "SELECT pg_backend_pid()"))


def eventually(condition: Callable[[], object], *, within: float = 10) -> None:
    """Wait until `condition` holds; fail after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
