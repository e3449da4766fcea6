"""Which server it is: a primary server, its standbys, and what one of them becomes in a failover are the same."""

from typing import Any

from ops.databases.postgres.queries import fetch_value


def read_server_id(cursor: Any) -> str:
    """The system identifier that initdb has given to the data; '' where the role may not ask for it.

    `cursor` is one of psycopg2 or of Django.
    """
    function = "pg_catalog.pg_control_system()"
    if not fetch_value(cursor, f"SELECT has_function_privilege('{function}', 'EXECUTE')"):
        return ""
    return str(fetch_value(cursor, f"SELECT system_identifier FROM {function}"))
