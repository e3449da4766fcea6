"""Whose history a user sees: that of the rows that the pages of the admin show this user."""

from collections.abc import Container, Iterable, Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth import get_permission_codename
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db.models import ForeignKey, Model, Q, QuerySet
from django.http import Http404, HttpRequest

from homerack.history.timeline import Scope
from homerack.history.tracking import tracked_models

VERBS = {"created": "delete", "changed": "change", "deleted": "add"}
"""What a user who reverts a row does, by what had happened to it."""


def models_in_order() -> list[type[Model]]:
    """The tracked models: those that have pages, then those in the tables of other pages; by name."""

    def order(model: type[Model]) -> tuple[bool, str]:
        return not admin.site.is_registered(model), str(model._meta.verbose_name_plural)

    return sorted(tracked_models(), key=order)


def may(request: HttpRequest, verb: str, model: type[Model], row: Model | None = None) -> bool:
    """Whether the user may do so in a form: as the admin class of `model` says, or as its permissions do."""
    own = admin.site._registry.get(model)  # noqa: SLF001  # Django's own pages of it have no other name either
    if own is None:
        names = model._meta
        return bool(request.user.has_perm(f"{names.app_label}.{get_permission_codename(verb, names)}"))
    if verb == "add":
        return bool(own.has_add_permission(request))
    return bool(getattr(own, f"has_{verb}_permission")(request, row))


def may_view(request: HttpRequest, model: type[Model]) -> bool:
    return may(request, "view", model) or may(request, "change", model)


def may_revert_all(request: HttpRequest, states: Iterable[tuple[type[Model], str]]) -> bool:
    """Whether the user may set back rows of these models that are in these states, as far as no single row matters."""
    return all(may(request, VERBS[state], model) for model, state in states)


def viewable_models(request: HttpRequest) -> list[type[Model]]:
    return [model for model in models_in_order() if may_view(request, model)]


def find_model(request: HttpRequest, name: str) -> type[Model]:
    """The tracked model called `name` in an address. Raises Http404; PermissionDenied for users who may not view it."""
    model = next((model for model in models_in_order() if model._meta.model_name == name), None)
    if model is None:
        raise Http404(f"There is no history of {name}.")
    if not may_view(request, model):
        raise PermissionDenied
    return model


def history_of(model: type[Model]) -> QuerySet[Any]:
    rows: QuerySet[Any] = model.history.model._base_manager.all()  # type: ignore[attr-defined]
    return rows


def fields_of(request: HttpRequest, model: type[Model]) -> Container[str]:
    """The fields that the form of `model` shows this user. Rows of inlines have no form of their own: all fields."""
    own = admin.site._registry.get(model)  # noqa: SLF001
    if own is None:
        return {field.name for field in model._meta.concrete_fields if not field.primary_key}
    of_others = model.extra_history_fields  # type: ignore[attr-defined]
    return {*flatten_fieldsets(own.get_fieldsets(request, model())), *of_others, "legacy_fields"}


def scope_of(request: HttpRequest, models: Iterable[type[Model]], *, text: str = "") -> Scope:
    """All history of `models`, or of their rows that `text` names."""
    rows = {model: history_of(model) for model in models}
    if text:
        rows = {model: those.filter(is_named(model, text)) for model, those in rows.items()}
    return Scope(rows=rows, fields={model: fields_of(request, model) for model in rows})


def is_named(model: type[Model], text: str) -> Q:
    """A condition for historical rows: what the search of the list looks at has `text` in it."""
    found = Q(pk__in=[])
    for path in search_paths(model):
        name, _, rest = path.partition("__")
        related: Any = model._meta.get_field(name).related_model
        if not rest:
            found |= Q(**{f"{name}__icontains": text})
        elif related is not None and hasattr(related, "history"):
            named = history_of(related).filter(**{f"{rest}__icontains": text})
            found |= Q(**{f"{name}__in": named.values(related._meta.pk.attname)})
    return found


def search_paths(model: type[Model]) -> Iterator[str]:
    """``name`` and ``brand__name``: fields of a model, and of those that it refers to."""
    own = admin.site._registry.get(model)  # noqa: SLF001
    if own is None:
        for field in model._meta.concrete_fields:
            if isinstance(field, ForeignKey):
                related: Any = field.related_model
                yield from (f"{field.name}__{path}" for path in search_paths(related) if "__" not in path)
        return
    for path in own.search_fields:
        name, _, rest = str(path).lstrip("^=@").partition("__")
        try:
            model._meta.get_field(name)
        except FieldDoesNotExist:
            continue
        if "__" not in rest:
            yield f"{name}__{rest}" if rest else name
