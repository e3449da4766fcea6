"""Lists of the admin have the same order on every database: the default one, and that of a column that users click.

Text is ordered by `homerack.ordering.Alphabetical`. Rows without a value are last, in either direction. The primary key
decides between equal rows, so that no row is on two pages.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from django.contrib.admin import AllValuesFieldListFilter
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import FieldDoesNotExist
from django.db.models import F, Field, OrderBy, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from homerack.ordering import Alphabetical, alphabetical_key

if TYPE_CHECKING:
    AnyAdmin = ModelAdmin[Any]
    AnyChangeList = ChangeList
else:
    AnyAdmin = AnyChangeList = object

TEXT = {"CharField", "FileField", "FilePathField", "GenericIPAddressField", "SlugField", "TextField"}
"""What `get_internal_type` returns for fields that store text in SQLite."""


class OrderedAdmin(AnyAdmin):
    """For admin classes. Fields and filters that list rows of the model have the same order."""

    def get_ordering(self, request: HttpRequest) -> Any:
        terms = super().get_ordering(request) or self.opts.ordering or ()
        return in_order(self.model._default_manager.all(), terms) if terms else ()

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        changelist: Any = super().get_changelist(request, **options)
        return ordered(changelist)


class OrderedChangeList(AnyChangeList):
    """For list pages."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return in_order(queryset, super().get_ordering(request, queryset))

    def _get_default_ordering(self) -> list[Any]:
        """With the names of the columns: Django marks these as sorted."""
        terms = super()._get_default_ordering()  # type: ignore[misc]  # missing in django-stubs
        return [f"{'-' * descends}{name}" for name, descends in filter(None, map(parse, terms))]

    def get_filters(self, request: HttpRequest) -> Any:
        found = super().get_filters(request)
        for shown in found[0]:
            if isinstance(shown, AllValuesFieldListFilter) and is_text(shown.field):
                shown.lookup_choices = sorted(shown.lookup_choices, key=value_key)  # type: ignore[assignment]  # any iterable
        return found


@cache
def ordered(changelist: Any) -> type[ChangeList]:
    return type(changelist.__name__, (OrderedChangeList, changelist), {})


def value_key(value: str | None) -> tuple[bool, bytes, str]:
    return (value is None, alphabetical_key(value or ""), value or "")


def in_order(rows: QuerySet[Any], terms: Iterable[Any]) -> list[Any]:
    """`terms`, which order `rows`, such that all databases return the same sequence."""
    ordering: list[Any] = [named for term in terms for named in name_order(rows, term)]
    keys = {"pk", rows.model._meta.pk.name}
    return ordering if any(name in keys for name, _ in filter(None, map(parse, ordering))) else [*ordering, "pk"]


def name_order(rows: QuerySet[Any], term: Any) -> Iterator[Any]:
    """The term or, where it is a foreign key, the terms that order its rows."""
    name, descends = parse(term) or ("", False)
    field, is_nullable = find(rows, name)
    if field is None:  # an expression, or "?"
        yield term
    elif field.is_relation and name.rpartition(LOOKUP_SEP)[2] == field.name:
        related = field.related_model._meta
        for inner, inner_descends in filter(None, map(parse, related.ordering or ("pk",))):
            sign = "-" * (descends != inner_descends)
            yield from name_order(rows, f"{sign}{name}{LOOKUP_SEP}{inner}")
    else:
        expression = Alphabetical(name) if is_text(field) else F(name)
        yield OrderBy(expression, descending=descends, nulls_last=is_nullable or None)


def parse(term: Any) -> tuple[str, bool] | None:
    """The name of a field, and whether it descends; None for other expressions."""
    if isinstance(term, str):
        return term.removeprefix("-"), term.startswith("-")
    descends = isinstance(term, OrderBy) and term.descending
    expression = term.expression if isinstance(term, OrderBy) else term
    if isinstance(expression, Alphabetical):
        (expression,) = expression.get_source_expressions()
    return (expression.name, descends) if isinstance(expression, F) else None


def find(rows: QuerySet[Any], name: str) -> tuple[Any, bool]:
    """The field that `name` leads to, or None, and whether its value may be NULL."""
    if name in rows.query.annotations:
        return rows.query.annotations[name].output_field, True
    field: Any = None
    model: Any = rows.model
    is_nullable = False
    try:
        for part in name.split(LOOKUP_SEP):
            field = model._meta.pk if part == "pk" else model._meta.get_field(part)
            model, is_nullable = field.related_model, is_nullable or field.null
    except (AttributeError, FieldDoesNotExist):  # the one of None, for what follows a field that is no relation
        return None, False
    return field, is_nullable


def is_text(field: "Field[Any, Any]") -> bool:
    return field.get_internal_type() in TEXT
