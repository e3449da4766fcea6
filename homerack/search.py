"""Comparisons without regard to case find in SQLite what they find in PostgreSQL.

SQLite's LIKE knows only that A to Z are a to z. PostgreSQL knows this of all letters, except in databases whose
LC_CTYPE is C. Importing this module makes ``icontains``, with which lists are searched, and ``iexact`` do so in SQLite.
"""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import CharField, TextField
from django.db.models.lookups import IContains, IExact
from django.db.models.sql.compiler import SQLCompiler
from django.dispatch import receiver

UPPER = "upper_of_all_letters"


def upper(text: Any) -> Any:
    """The upper case of each letter that is a single one, as PostgreSQL's UPPER makes it: ``ß`` stays."""
    if not isinstance(text, str):
        return text
    whole = text.upper()
    if len(whole) == len(text):
        return whole
    return "".join(single if len(single := letter.upper()) == 1 else letter for letter in text)


@receiver(connection_created, dispatch_uid="homerack.search")
def add_function(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor == "sqlite":
        connection.connection.create_function(UPPER, 1, upper, deterministic=True)


class AnyLetters:
    """SQLite compares in upper case, unless the searched text is ASCII: a function in Python is slower than LIKE."""

    rhs: Any

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        if not isinstance(self.rhs, str) or self.rhs.isascii():
            return self.as_sql(compiler, connection)  # type: ignore[attr-defined]
        left, parameters = self.process_lhs(compiler, connection)  # type: ignore[attr-defined]
        _, (pattern,) = self.process_rhs(compiler, connection)  # type: ignore[attr-defined]
        return f"{UPPER}({left}) LIKE %s ESCAPE '\\'", [*parameters, upper(pattern)]


class AnyLettersContain(AnyLetters, IContains):
    pass


class AnyLettersEqual(AnyLetters, IExact):  # type: ignore[type-arg]  # at run time it takes no types
    pass


for field in (CharField, TextField):
    for lookup in (AnyLettersContain, AnyLettersEqual):
        field.register_lookup(lookup)
