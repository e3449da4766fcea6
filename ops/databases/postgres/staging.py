"""Staging and scratch databases: claimed before they are created, and dropped by the operation that claimed them."""

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.databases.leftovers import Claims
from ops.databases.postgres import databases
from ops.databases.postgres.connection import ConnectionInfo
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted


def claim(connection: Connection, name: str, claims: Claims, *, target: str = "") -> None:
    """Claim a free name: an existing database is not ours, whatever its comment says. Raises PreconditionFailed."""
    if len(name.encode()) > databases.NAME_LIMIT:
        raise PreconditionFailed(
            f"The name {name} is longer than {databases.NAME_LIMIT} bytes. Nothing was changed.",
            "Choose a shorter name.",
        )
    if databases.exists(connection, name):
        raise PreconditionFailed(
            f"The database {name} exists already. Nothing was changed.",
            f"Choose another name, or examine that database and drop it: DROP DATABASE {quoted(name)};",
        )
    claims.claim_database(name, target=target)


def create(connection: Connection, name: str, *, like: ConnectionInfo, extensions: tuple[str, ...]) -> ConnectionInfo:
    """Create the empty database `name` with the properties of `like`, which need not exist. Returns its address."""
    template = databases.template_with(connection, like, extensions)
    properties = databases.read_properties(connection, like.database)
    databases.create_staging(connection, name, properties, template=template)
    address = like.with_database(name)
    databases.add_extensions(address, extensions)
    return address


def discard(connection: Connection, name: str, claims: Claims, *, spared: tuple[str, ...], target: str = "") -> None:
    """Drop what was claimed and may exist. If the connection is lost, a later operation drops it.

    What another program created meanwhile has no comment of ours, and stays.
    """
    try:
        databases.drop_claimed(connection, [name], spared=spared)
    except psycopg2.Error:
        claims.leave_database(name, target=target)
