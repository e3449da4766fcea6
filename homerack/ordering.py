"""The order of text in lists: the same in SQLite and in every PostgreSQL database.

PostgreSQL orders text by the collation of the database: by the rules of a language in the images that are based on
Debian, by bytes in those that are based on Alpine. SQLite compares bytes. NULLs are the largest values in PostgreSQL
and the smallest in SQLite. So lists name the collation, and where NULLs are.
"""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, GenericIPAddressField, TextField
from django.db.models.sql.compiler import SQLCompiler


class Alphabetical(Func):
    """Text by its UTF-8 bytes, with A to Z as a to z. Other letters follow after z, in the order of Unicode.

    It is no total order, so a primary key has to follow. For a column with NULLs: ``.asc(nulls_last=True)``.
    """

    function = "LOWER"
    arity = 1
    output_field = TextField()

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """With the collation "C", which every database has, and in which LOWER changes A to Z only, as in SQLite."""
        (source,) = self.get_source_expressions()
        # An inet has no collation, and SQLite stores addresses as text.
        text = "HOST(%(expressions)s)" if isinstance(source.output_field, GenericIPAddressField) else "%(expressions)s"
        return self.as_sql(compiler, connection, template=f'LOWER({text} COLLATE "C")', **context)

    def get_group_by_cols(self) -> list[Any]:
        """The column, if rows are grouped: often PostgreSQL groups by a primary key and does not need it."""
        return [column for source in self.get_source_expressions() for column in source.get_group_by_cols()]


def alphabetical_key(text: str) -> bytes:
    """The key that orders `text` in Python as `Alphabetical` does in a database."""
    return text.encode().lower()
