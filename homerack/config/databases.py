"""``DATABASE_URL`` becomes Django's ``DATABASES["default"]``."""

from pathlib import Path
from typing import Any

import dj_database_url

from homerack.config import env
from ops.databases.postgres import url as postgres_url

SQLITE = "django.db.backends.sqlite3"
POSTGRESQL = "homerack.postgresql"
DB_TYPES = {"sqlite": SQLITE, "postgresql": POSTGRESQL}
EXAMPLE = "postgres://user:password@127.0.0.1:5432/homerack"
DEFAULT_URL = "sqlite:///./homerack.db"

POSTGRESQL_OPTIONS = {"application_name": "homerack", "connect_timeout": 5, **postgres_url.KEEPALIVES}


def configure(*, base_dir: Path) -> dict[str, Any]:
    """The ``default`` database: PostgreSQL with pooled connections, or SQLite in a file.

    A relative SQLite path is relative to `base_dir`, so that it does not depend on the working directory.
    """
    database = parse_url(env.get_secret("DATABASE_URL", DEFAULT_URL))
    if database["ENGINE"] == SQLITE:
        if database["NAME"] != ":memory:":
            database["NAME"] = str(base_dir / database["NAME"])
        database["OPTIONS"] = sqlite_options() | database.get("OPTIONS", {})
        return database
    database["OPTIONS"] = POSTGRESQL_OPTIONS | database.get("OPTIONS", {})
    return database | read_pool_settings()


def sqlite_options() -> dict[str, Any]:
    from homerack.sqlite import PrivateFile  # noqa: PLC0415  # not needed with PostgreSQL, and takes 1 MB

    return {
        # Readers do not wait for the writer; a writer waits up to 20 s for another. IMMEDIATE takes the write lock at
        # the start of a transaction, where waiting works, instead of failing in the middle of it.
        "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;",
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "factory": PrivateFile,
    }


def configure_direct(database: dict[str, Any]) -> dict[str, Any]:
    """The settings of ``DATABASE_DIRECT_URL``, or an empty dictionary. If it is set, `database` is behind PgBouncer.

    Server-side cursors are disabled there: PgBouncer would fetch from them in another session.
    """
    url = env.get_secret("DATABASE_DIRECT_URL")
    if not url:
        return {}
    direct = parse_url(url, variable="DATABASE_DIRECT_URL")
    if {direct["ENGINE"], database["ENGINE"]} != {POSTGRESQL}:
        raise env.refuse("DATABASE_DIRECT_URL", "and DATABASE_URL must both be addresses of PostgreSQL", EXAMPLE)
    database["DISABLE_SERVER_SIDE_CURSORS"] = True
    return {name: direct[name] for name in ("NAME", "HOST", "PORT", "USER", "PASSWORD")} | {
        "OPTIONS": POSTGRESQL_OPTIONS | direct.get("OPTIONS", {})
    }


def read_pool_settings() -> dict[str, Any]:
    """The keys of `homerack.postgresql`, which describes them."""
    return {
        "CONN_MAX_AGE": env.get_int("DB_POOL_RECYCLE", default=3600),
        "CONN_HEALTH_CHECKS": env.get_bool("DB_POOL_PRE_PING", default=True),
        "POOL": {
            "SIZE": env.get_int("DB_POOL_SIZE", default=20),
            "MAX_OVERFLOW": env.get_int("DB_MAX_OVERFLOW", default=10),
            "TIMEOUT": env.get_seconds("DB_POOL_TIMEOUT", default=30),
        },
        "CONNECT_RETRY": {
            "ATTEMPTS": env.get_int("DB_CONNECT_RETRY_MAX_ATTEMPTS", default=5, minimum=1),
            "DELAY": env.get_seconds("DB_CONNECT_RETRY_DELAY", default=2),
        },
        "STATEMENT_TIMEOUT": env.get_seconds("DB_STATEMENT_TIMEOUT", default=10),
        "ECHO": env.get_bool("DB_ECHO", default=False),
    }


def parse_url(url: str, *, variable: str = "DATABASE_URL") -> dict[str, Any]:
    """Django's settings for `url`, the value of `variable`, in the forms of Django and SQLAlchemy projects.

    Raises ImproperlyConfigured without the address, which may contain a password.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.partition("+")[0]
    try:
        if scheme in postgres_url.SCHEMES:
            return {"ENGINE": POSTGRESQL, **postgres_url.parse(url)}
        path = rest.removeprefix("/.") if rest.startswith("/./") else rest
        database: dict[str, Any] = dict(dj_database_url.parse(f"{scheme}://{path}"))
    except postgres_url.InvalidUrl as error:
        raise env.refuse(variable, str(error), EXAMPLE) from error
    except (ValueError, dj_database_url.UnknownSchemeError) as error:
        raise env.refuse(variable, postgres_url.UNREADABLE, EXAMPLE) from error
    if database["ENGINE"] != SQLITE:
        raise env.refuse(variable, f"starts with {scheme}://; HomeRack runs on sqlite and postgres", EXAMPLE)
    if not database["NAME"]:
        raise env.refuse(variable, "names no database", EXAMPLE)
    return database
