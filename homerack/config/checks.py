"""System checks of the settings of the database and of ALLOWED_HOSTS.

=================  =============================================================================================
homerack.E001      psycopg 3 is importable
homerack.E002      ``DB_TYPE`` contradicts ``DATABASE_URL``
homerack.W003      all processes together may ask for more connections than the server has
homerack.W004      SQLite in a container, on storage that is deleted with the container
homerack.E005      (``check --deploy``) ``ALLOWED_HOSTS`` names no host
homerack.W006      ``DATABASE_URL`` signs in to PostgreSQL as a superuser (and ``DEBUG`` is off)
=================  =============================================================================================

W003 and W006 ask the server, and so run only where databases are checked: ``migrate`` and ``check --database default``.
"""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.db import OperationalError, connections

from homerack.config.databases import DB_TYPES, SQLITE
from ops.utils.printable import printable

CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


@register(Tags.compatibility)
def psycopg_3_is_absent(**_kwargs: Any) -> list[CheckMessage]:
    if importlib.util.find_spec("psycopg") is None:
        return []
    return [
        Error(
            "psycopg 3 can be imported, and Django prefers it to psycopg2, which the connection pool is made for.",
            hint="pip uninstall psycopg psycopg-binary psycopg-pool",
            id="homerack.E001",
        ),
    ]


@register(Tags.compatibility)
def db_type_agrees(**_kwargs: Any) -> list[CheckMessage]:
    engine = settings.DATABASES["default"]["ENGINE"]
    if not settings.DB_TYPE or DB_TYPES[settings.DB_TYPE] == engine:
        return []
    actual = next((name for name, known in DB_TYPES.items() if known == engine), engine)
    return [
        Error(
            f"DB_TYPE is {settings.DB_TYPE}, but DATABASE_URL leads to {actual}.",
            hint="DATABASE_URL decides. Correct one of the two, or leave DB_TYPE out.",
            id="homerack.E002",
        ),
    ]


@register(Tags.database)
def connections_suffice(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for alias in databases or ():
        pool = connections[alias].settings_dict.get("POOL", {})
        if connections[alias].vendor != "postgresql" or not pool.get("SIZE"):
            continue
        wanted = settings.WEB_CONCURRENCY * (pool["SIZE"] + pool["MAX_OVERFLOW"])
        available = _available_connections(alias)
        if available is not None and wanted > available:
            messages.append(_too_many(alias, wanted, available, pool))
    return messages


def _available_connections(alias: str) -> int | None:
    """How many connections an ordinary role can have, or None when the server is unreachable."""
    query = """
        SELECT sum(CASE name WHEN 'max_connections' THEN 1 ELSE -1 END * setting::int) FROM pg_settings
        WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')"""
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute(query)
            return int(cursor.fetchone()[0])
    except OperationalError:
        return None  # code that needs the database reports the error more clearly


def _too_many(alias: str, wanted: int, available: int, pool: dict[str, int]) -> CheckMessage:
    return Warning(
        f"The web processes may open {wanted} connections to {alias!r}, but the server allows {available}: "
        f"WEB_CONCURRENCY {settings.WEB_CONCURRENCY} × "
        f"(DB_POOL_SIZE {pool['SIZE']} + DB_MAX_OVERFLOW {pool['MAX_OVERFLOW']}).",
        hint="Lower one of the three or raise the server's max_connections; see docs/connections.md.",
        id="homerack.W003",
    )


@register(Tags.database)
def role_is_no_superuser(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """SQL of a superuser can run programs on the server, and so could an attacker of the site."""
    postgresql = [alias for alias in databases or () if connections[alias].vendor == "postgresql"]
    return [] if settings.DEBUG else [_superuser(alias) for alias in postgresql if _is_superuser(alias)]


def _is_superuser(alias: str) -> bool:
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            return bool(cursor.fetchone()[0])
    except OperationalError:
        return False  # code that needs the database reports the error more clearly


def _superuser(alias: str) -> CheckMessage:
    role = connections[alias].settings_dict["USER"]
    return Warning(
        f"The role {role} of the database {alias!r} is a superuser of PostgreSQL.",
        hint="Use an ordinary role that owns the database: CREATE ROLE … LOGIN NOSUPERUSER CREATEDB.",
        id="homerack.W006",
    )


@register(Tags.compatibility)
def sqlite_outlives_its_container(**_kwargs: Any) -> list[CheckMessage]:
    """Warn about a SQLite file that is deleted with its container, except with DEBUG, which means development."""
    database = settings.DATABASES["default"]
    if settings.DEBUG or database["ENGINE"] != SQLITE or database["NAME"] == ":memory:" or not runs_in_container():
        return []
    folder = Path(database["NAME"]).parent
    if is_on_volume(folder):
        return []
    where = printable(str(folder))
    return [
        Warning(
            f"The SQLite file is in {where}, inside the container: it is deleted with the container.",
            hint="Mount a volume there (docker run -v homerack:/data -e DATABASE_URL=sqlite:////data/homerack.db).",
            id="homerack.W004",
        ),
    ]


@register(Tags.security, deploy=True)
def hosts_are_named(**_kwargs: Any) -> list[CheckMessage]:
    if set(settings.ALLOWED_HOSTS) - set(settings.LOOPBACK_HOSTS):
        return []
    return [
        Error(
            "ALLOWED_HOSTS is not set: the site responds to localhost only.",
            hint="Set it to the host name of the site: ALLOWED_HOSTS=homerack.example.org",
            id="homerack.E005",
        ),
    ]


def runs_in_container() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ or any(mark.exists() for mark in CONTAINER_MARKS)


def is_on_volume(folder: Path) -> bool:
    """Whether `folder` (or its nearest existing parent) is on another file system than the container's own."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return existing.stat().st_dev != Path("/").stat().st_dev
