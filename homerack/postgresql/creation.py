"""Making, cloning and dropping test databases, none of which works while somebody is connected."""

from typing import Any

from django.db.backends.postgresql import creation


class DatabaseCreation(creation.DatabaseCreation):
    """Django's, which already closes the pool before cloning and dropping."""

    def _create_test_db(self, *args: Any, **kwargs: Any) -> str:
        self.connection.close_pool()  # type: ignore[attr-defined]  # missing in django-stubs
        name: str = super()._create_test_db(*args, **kwargs)  # type: ignore[misc]
        return name
