"""What servers import before they fork: their processes share its memory, and no request waits for it."""

from importlib import import_module

from django.conf import settings
from django.db import connection

from homerack.postgresql import retry_budget
from homerack.postgresql.registry import pools


def import_pages() -> None:
    """For web servers, which limit how long a statement takes."""
    retry_budget.limit_statements()
    import_module(settings.ROOT_URLCONF)
    import_pool()
    # Their sessions have no limit: `runserver` has looked for migrations.
    pools.dispose(connection.alias)


def import_pool() -> None:
    """The pool of connections. Without a server, it is imported with the first connection: commands may need none."""
    if connection.vendor == "postgresql":
        import_module("homerack.postgresql.pool")
