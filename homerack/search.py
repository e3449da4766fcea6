"""Searches: comparisons without regard to case, and the rows that have all words in some of their fields.

SQLite's LIKE knows only that A to Z are a to z. PostgreSQL knows this of all letters, except in databases whose
LC_CTYPE is C. Importing this module makes ``icontains``, with which lists are searched, and ``iexact`` do so in SQLite.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import CharField, Exists, OuterRef, Q, QuerySet, TextField
from django.db.models.constants import LOOKUP_SEP
from django.db.models.lookups import IContains, IExact
from django.db.models.sql.compiler import SQLCompiler
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils.text import smart_split, unescape_string_literal

UPPER = "upper_of_all_letters"
OTHER_LETTERS = "[^\x01-\x7f]"
"""A pattern of both databases."""
MANY_KEYS = 500
"""So many keys are part of a query. A subquery selects more."""


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
    """Compares in upper case, and text with other letters than A to Z with such text only.

    SQLite's LIKE is faster than a function in Python, and PostgreSQL's UPPER by the rules of a language takes ten times
    as long as LOWER by bytes.
    """

    rhs: Any

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        if not isinstance(self.rhs, str) or self.rhs.isascii():
            return self.as_sql(compiler, connection)  # type: ignore[attr-defined]
        left, parameters = self.process_lhs(compiler, connection)  # type: ignore[attr-defined]
        _, (pattern,) = self.process_rhs(compiler, connection)  # type: ignore[attr-defined]
        compared = f"({left} GLOB %s AND {UPPER}({left}) LIKE %s ESCAPE '\\')"
        return compared, [*parameters, f"*{OTHER_LETTERS}*", *parameters, upper(pattern)]


class AnyLettersContain(AnyLetters, IContains):
    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        if not isinstance(self.rhs, str):
            return self.as_sql(compiler, connection)
        left, parameters = compiler.compile(self.lhs)
        pattern = str(self.process_rhs(compiler, connection)[1][0])
        if self.rhs.isascii():
            return f'LOWER({left}::text COLLATE "C") LIKE %s', [*parameters, pattern.lower()]
        compared = f'({left}::text COLLATE "C" ~ %s AND UPPER({left}::text) LIKE UPPER(%s))'
        return compared, [*parameters, OTHER_LETTERS, *parameters, pattern]


class AnyLettersEqual(AnyLetters, IExact):  # type: ignore[type-arg]  # at run time it takes no types
    pass


for field in (CharField, TextField):
    for lookup in (AnyLettersContain, AnyLettersEqual):
        field.register_lookup(lookup)


# --- Searches of lists ------------------------------------------------------------------------------------------------
class SearchedAdmin:
    """For admin classes: their lists, fields to choose a row, and the search over everything find the same rows."""

    get_search_fields: Any

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return search(queryset, self.get_search_fields(request), search_term), False

    def describe_found(self, row: Any) -> str:
        """What tells `row` from others of its name, in the search over everything."""
        raise NotImplementedError


def search(rows: QuerySet[Any], fields: Sequence[str], term: str) -> QuerySet[Any]:
    """The `rows` that have each word of `term` in one of the `fields`. Words in quotes belong together.

    Django joins the tables of all fields instead, and compares each joined row. Here other tables are searched first,
    and once: the database then knows how few rows have their keys.
    """
    for word in words_of(term):
        rows = rows.filter(contains(rows.model, fields, word))
    return rows


def words_of(term: str) -> Iterator[str]:
    for word in smart_split(term):
        is_quoted = len(word) > 1 and word[0] in "\"'" and word[0] == word[-1]
        yield unescape_string_literal(word) if is_quoted else word


def contains(model: Any, fields: Iterable[str], word: str) -> Q:
    """The rows of `model` that have `word` in one of `fields`, whose names may lead to other models."""
    own, related = split(fields)
    found = contain(own, word)
    read: dict[Any, list[Any]] = {}
    for name, names in related.items():
        relation = model._meta.get_field(name)
        there = relation.related_model._base_manager.filter(contains_related(relation.related_model, names, word))
        column = "pk" if relation.many_to_one else relation.field.attname
        query = (relation.related_model, names, column)
        if query not in read:
            read[query] = list(there.values_list(column, flat=True)[: MANY_KEYS + 1])
        if len(read[query]) <= MANY_KEYS:
            found |= Q((f"{name}__in" if relation.many_to_one else "pk__in", read[query]))
        elif relation.many_to_one:
            found |= Q((f"{name}__in", there))
        else:
            found |= Q(Exists(there.filter(**{relation.field.name: OuterRef("pk")})))
    return found


def contains_related(model: Any, fields: Iterable[str], word: str) -> Q:
    """The same in one query, for tables with fewer rows."""
    own, related = split(fields)
    found = contain(own, word)
    for name, names in related.items():
        there = model._meta.get_field(name).related_model
        found |= Q((f"{name}__in", there._base_manager.filter(contains_related(there, names, word))))
    return found


def contain(fields: Iterable[str], word: str) -> Q:
    return Q(*((f"{name}__icontains", word) for name in fields), _connector=Q.OR)


def split(fields: Iterable[str]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """The fields of a model itself, and those of other models by the relation that leads to them."""
    own, related = list[str](), dict[str, tuple[str, ...]]()
    for name in fields:
        relation, _, rest = name.partition(LOOKUP_SEP)
        if rest:
            related[relation] = (*related.get(relation, ()), rest)
        else:
            own.append(name)
    return own, related
