"""The field for the permissions of a group: a line for each list of the admin, with its verbs.

Permissions for tables that no page shows are left out, except those that the group already has.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q, QuerySet
from django.forms.models import ModelChoiceIterator
from django.utils.text import capfirst
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from homerack.ordering import alphabetical_key

VERBS = ("view", "add", "change", "delete")


def offered(permissions: QuerySet[Permission], group: int | None) -> QuerySet[Permission]:
    """Those of `permissions` for what the admin shows, and those that the group with this key has."""
    types = [content_type.pk for content_type in ContentType.objects.get_for_models(*shown_models()).values()]
    had = Permission.objects.filter(group=group) if group else Permission.objects.none()
    return permissions.filter(Q(content_type__in=types) | Q(pk__in=had.values("pk"))).select_related("content_type")


def shown_models() -> set[type[Model]]:
    """The models that have a list, or rows in a form of one that has."""
    registered = admin.site._registry  # noqa: SLF001  # Django's own pages of it have no other name either
    inlines = (inline.model for one in registered.values() for inline in one.inlines)
    return {*registered, *inlines}


def line_of(permission: Permission) -> str:
    """The plural of the model, as in the sidebar."""
    model = permission.content_type.model_class()
    return str(capfirst(model._meta.verbose_name_plural if model else permission.content_type.name))


def verb_of(permission: Permission) -> str:
    """``view``, or what a permission of our own allows."""
    verb = permission.codename.partition("_")[0]
    return verb if verb in VERBS else permission.name.removeprefix("Can ")


class Lines(ModelChoiceIterator):
    def __iter__(self) -> Iterator[Any]:
        rows = sorted(self.queryset, key=self.order)
        for line, permissions in groupby(rows, key=line_of):
            yield line, [self.choice(permission) for permission in permissions]

    def order(self, permission: Permission) -> tuple[bytes, int, str]:
        verb = verb_of(permission)
        return alphabetical_key(line_of(permission)), VERBS.index(verb) if verb in VERBS else len(VERBS), verb


class PermissionsWidget(UnfoldAdminCheckboxSelectMultipleWidget):  # type: ignore[misc]
    template_name = "accounts/permissions.html"


class PermissionsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # it takes none at run time
    iterator = Lines
    widget = PermissionsWidget

    def label_from_instance(self, permission: Any) -> str:
        return verb_of(permission)
