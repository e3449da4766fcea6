"""Autocomplete fields that take any text as a value, and do not query what the page has read already.

Django's widgets raise ValueError on a key that is no number, and make one query for each row of a page.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.admin.widgets import AutocompleteSelect, AutocompleteSelectMultiple
from django.core.exceptions import ValidationError
from django.db import models
from django.forms import ModelForm
from django.http import HttpRequest


class KnownKeys:
    """Looks up only those values that can be keys. The field has refused the others."""

    field: "models.ForeignKey[Any, Any] | models.ManyToManyField[Any, Any]"

    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        key = self.field.remote_field.model._meta.pk
        possible = [each for each in value if can_be(key, each)]
        return super().optgroups(name, possible, attr)  # type: ignore[misc]


class SafeAutocompleteSelect(KnownKeys, AutocompleteSelect):
    stored: models.Model | None = None
    """The row that is selected unless the user has chosen another one; see `use_stored_rows`."""

    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        if self.stored is None or [*value] != [str(self.stored.pk)]:
            return super().optgroups(name, value, attr)
        label = self.choices.field.label_from_instance(self.stored)
        empty = [] if self.is_required else [self.create_option(name, "", "", selected=False, index=0)]
        option = self.create_option(name, self.stored.pk, label, selected=True, index=len(empty))
        return [(None, [*empty, option], 0)]


class SafeAutocompleteSelectMultiple(KnownKeys, AutocompleteSelectMultiple):
    pass


class SafeAutocompletes:
    """For admin classes and inlines, in front of unfold's."""

    admin_site: Any

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(  # type: ignore[misc]
            db_field, request, **self.with_widget(SafeAutocompleteSelect, db_field, request, kwargs)
        )
        if self.admin_site.is_registered(db_field.remote_field.model):
            field.label_from_instance = label_for(self.admin_site.get_model_admin(db_field.remote_field.model))
        return field

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return super().formfield_for_manytomany(  # type: ignore[misc]
            db_field, request, **self.with_widget(SafeAutocompleteSelectMultiple, db_field, request, kwargs)
        )

    def with_widget(self, widget: Any, db_field: Any, request: HttpRequest, options: dict[str, Any]) -> dict[str, Any]:
        if db_field.name not in self.get_autocomplete_fields(request):  # type: ignore[attr-defined]
            return options
        return {"widget": widget(db_field, self.admin_site, using=options.get("using")), **options}


class LabelledAutocompleteView(AutocompleteJsonView):
    """Answers with the labels of `label_for`, for which the admin class selects what they need with the rows."""

    def serialize_result(self, obj: models.Model, to_field_name: str) -> dict[str, str]:
        return {"id": str(getattr(obj, to_field_name)), "text": label_for(self.model_admin)(obj)}


def label_for(model_admin: Any) -> Callable[[models.Model], str]:
    """What a field to choose one of its rows shows of a row: its `label_of_choice`, or its name."""
    label: Callable[[models.Model], str] = getattr(model_admin, "label_of_choice", str)
    return label


def use_stored_rows(form: "ModelForm[Any]") -> None:
    """Give the widgets of `form` the rows that its instance refers to, as far as they were read with it."""
    for name, field in form.fields.items():
        widget = getattr(field.widget, "widget", field.widget)
        if isinstance(widget, SafeAutocompleteSelect) and name in form.instance._state.fields_cache:
            widget.stored = form.instance._state.fields_cache[name]


def can_be(key: Any, value: str) -> bool:
    try:
        key.run_validators(key.to_python(value))
    except ValidationError:
        return False
    return True
