"""Test databases. PostgreSQL creates, clones and drops a database only while nothing is connected to it."""

from typing import Any

from django.db.backends.postgresql import creation


class DatabaseCreation(creation.DatabaseCreation):
    """Django's, which closes the pool before it clones and drops databases, but not before it creates them."""

    def _create_test_db(self, *args: Any, **kwargs: Any) -> str:
        self.connection.close_pool()  # type: ignore[attr-defined]  # missing in django-stubs
        name: str = super()._create_test_db(*args, **kwargs)  # type: ignore[misc]
        return name
