"""What servers import before they fork: their processes share its memory, and no request waits for it."""

from importlib import import_module

from django.conf import settings
from django.db import connection


def import_pages() -> None:
    import_module(settings.ROOT_URLCONF)
    import_pool()


def import_pool() -> None:
    """The pool of connections. Without a server, it is imported with the first connection: commands may need none."""
    if connection.vendor == "postgresql":
        import_module("homerack.postgresql.pool")
