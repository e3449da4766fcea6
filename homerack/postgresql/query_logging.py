"""``DB_ECHO``: log every statement with its duration and without its data."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

logger = logging.getLogger(__name__)


def log_statement(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001
    """A wrapper for ``connection.execute_wrappers``: run the statement and log it, even when it fails."""
    start = time.perf_counter()
    failure = ""
    try:
        return execute(sql, params, many, context)
    except Exception as error:
        failure = f" {type(error).__name__}"
        raise
    finally:
        duration = (time.perf_counter() - start) * 1000
        shape = f"{len(params)} sets" if many and isinstance(params, Sequence) else describe(params)
        logger.info("%.3f ms%s %s; %s", duration, failure, without_literals(str(sql)), shape)


def describe(params: Any) -> str:
    """The types and lengths of the parameters, without their values."""
    if isinstance(params, Mapping):
        return "{" + ", ".join(f"{name}: {_kind(value)}" for name, value in params.items()) + "}"
    return "[" + ", ".join(_kind(value) for value in params or ()) + "]"


def _kind(value: object) -> str:
    if value is None:
        return "NULL"
    length = f" {len(value)}" if isinstance(value, str | bytes) else ""
    return f"{type(value).__name__}{length}"


def without_literals(sql: str) -> str:
    """`sql` with each string literal as ``'…'``. With escapes or dollar quotes, it is cut at the first quote."""
    if "\\" in sql or "$" in sql:
        first = min(position for position in (sql.find("'"), sql.find("$"), len(sql)) if position >= 0)
        return sql if first == len(sql) else f"{sql[:first]}…"
    parts = sql.split("'")
    # Parts with odd numbers are inside quotes; a doubled quote only adds an empty part outside.
    return "'…'".join(parts[::2]) if len(parts) % 2 else f"{parts[0]}…"
