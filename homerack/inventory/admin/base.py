"""What the inventory's admin classes share."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.paginator import Page, Paginator
from django.core.validators import URLValidator
from django.db import models
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from unfold.admin import ModelAdmin, TabularInline
from unfold.widgets import UnfoldBooleanSwitchWidget

from homerack.autocomplete import SafeAutocompletes, use_stored_rows
from homerack.inventory.elevation import safe_color
from homerack.inventory.models import DeviceType
from homerack.inventory.spreadsheets.exporting import csv_lines
from homerack.inventory.spreadsheets.tables import table_of
from homerack.search import SearchedAdmin

ModelT = TypeVar("ModelT", bound=models.Model)
ParentT = TypeVar("ParentT", bound=models.Model)

# Django 5.2 warns where the scheme of an address typed without one is left to it.
FORMFIELDS: Mapping[Any, Mapping[str, Any]] = {models.URLField: {"assume_scheme": "https"}}
TIMES = ("created_at", "updated_at"), "last_updated"
LEGACY_FIELDS = (
    "Legacy fields",
    {
        "fields": ("legacy_values",),
        "description": "HomeRack 1.0.1 stored these values. HomeRack keeps them, and does not use them.",
        "classes": ("collapse",),
    },
)
NO_ADDRESS = "This is not a web address. HomeRack keeps it until you enter another one."


class InventoryForm(forms.ModelForm[ModelT]):
    """Keeps what legacy files contain until it is changed: unknown choices, and texts that are no addresses."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        use_stored_rows(self)
        for name, field in self.fields.items():
            stored = getattr(self.instance, name, None)
            if isinstance(field, forms.TypedChoiceField) and stored and not field.valid_value(stored):
                field.choices = [*field.choices, (stored, f"{stored} (unknown)")]  # type: ignore[misc]
            if isinstance(field, forms.URLField) and stored and not is_valid(URLValidator(), stored):
                # Browsers do not submit a form whose field of type "url" has another text.
                field.widget.input_type = "text"
                field.help_text = "" if is_valid(field.clean, stored) else NO_ADDRESS

    def _clean_fields(self) -> None:
        """Keep unchanged texts, which the model does not validate either."""
        super()._clean_fields()  # type: ignore[misc]
        for name in [*self._errors]:  # type: ignore[attr-defined]
            stored = getattr(self.instance, name, None)
            if isinstance(stored, str) and stored and self[name].data == stored:
                del self._errors[name]  # type: ignore[attr-defined]
                self.cleaned_data[name] = stored

    def _update_errors(self, errors: ValidationError) -> None:
        """Take errors of the model for fields that have none so far: of an invalid value, it knows the old one."""
        if hasattr(errors, "error_dict"):
            said = {*self._errors} - {NON_FIELD_ERRORS}  # type: ignore[attr-defined]
            errors = ValidationError({field: found for field, found in errors.error_dict.items() if field not in said})
        super()._update_errors(errors)  # type: ignore[misc]

    def _post_clean(self) -> None:
        """Do not validate unchanged rows of an inline, which are not saved either."""
        if self.instance.pk is None or self.has_changed():
            super()._post_clean()  # type: ignore[misc]


def is_valid(validate: Callable[[Any], object], value: Any) -> bool:
    try:
        validate(value)
    except ValidationError:
        return False
    return True


def null_boolean_switch(db_field: "models.Field[Any, Any]", options: dict[str, Any]) -> forms.Field | None:
    """A switch for a nullable boolean: legacy files contain NULL, but forms offer only yes and no."""
    if not isinstance(db_field, models.BooleanField) or not db_field.null:
        return None
    options.pop("request", None)
    switch = UnfoldBooleanSwitchWidget()
    return forms.BooleanField(
        required=False,
        label=capfirst(str(db_field.verbose_name)),
        help_text=db_field.help_text,
        widget=switch,
        initial=False,
    )


class DeferredJoinPaginator(Paginator):  # type: ignore[type-arg]  # at run time it takes no types
    """Selects the primary keys of a page first, then its rows, so that annotations are computed for these rows only.

    Otherwise the database computes them for all rows before the page, too.
    """

    object_list: QuerySet[Any]

    @cached_property
    def first_keys(self) -> list[Any]:
        """Those of the first page of a filtered list, and one more. If it is the only page, they need no counting."""
        return list(self.object_list.values_list("pk", flat=True)[: self.per_page + 1])

    @cached_property
    def count(self) -> int:
        if self.object_list.query.where and len(self.first_keys) <= self.per_page:
            return len(self.first_keys)
        return self.object_list.count()

    def page(self, number: int | str) -> "Page[Any]":
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        keys: Any = self.object_list.values("pk")[first : first + self.per_page]
        if number == 1 and "first_keys" in vars(self):
            keys = self.first_keys[: self.per_page]
        return Page(self.object_list.filter(pk__in=keys), number, self)


@admin.action(permissions=["view"], description="Export as CSV")
def export_as_csv(_admin: Any, _request: HttpRequest, rows: QuerySet[Any]) -> StreamingHttpResponse:
    """The selected rows. The links above the list export all that it shows."""
    table = table_of(rows.model)
    lines = csv_lines(table, table.queryset().filter(pk__in=rows.order_by().values("pk")))
    name = f"{table.name}-{timezone.localdate():%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)


class InventoryAdmin(SafeAutocompletes, SearchedAdmin, ModelAdmin[ModelT]):
    """The settings that all lists and forms of the inventory share."""

    form: type[Any] = InventoryForm
    actions = (export_as_csv,)
    formfield_overrides = FORMFIELDS
    paginator = DeferredJoinPaginator
    list_per_page = 50
    empty_value_display = "–"
    list_filter_sheet = False
    warn_unsaved_form = True
    added_by = "Editors and administrators can add the first one."
    """For users who may not, on an empty list."""
    needed_first = ""
    """For users who may add rows, on an empty list."""

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **options: Any
    ) -> forms.Field | None:
        return null_boolean_switch(db_field, options) or super().formfield_for_dbfield(db_field, request, **options)

    def get_fieldsets(self, request: HttpRequest, obj: ModelT | None = None) -> Any:
        """Without the times of the row, which a form to add one has not made yet; with its legacy fields, if any."""
        found = super().get_fieldsets(request, obj)
        if obj is None:
            return without_times(found)
        return [*found, LEGACY_FIELDS] if getattr(obj, "legacy_fields", None) else found

    def get_readonly_fields(self, request: HttpRequest, obj: ModelT | None = None) -> Any:
        return (*super().get_readonly_fields(request, obj), "legacy_values")

    @admin.display(description="values")
    def legacy_values(self, row: ModelT) -> SafeString:
        return legacy_list(getattr(row, "legacy_fields", None))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the message of a rule that is broken only when saving: by another row of the same page, or a race."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except ValidationError as error:
            for message in error.messages:
                messages.error(request, f"Nothing was saved. {message}")
            return HttpResponseRedirect(request.get_full_path())


def without_times(fieldsets: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    kept = [
        (name, {**options, "fields": [line for line in options["fields"] if line not in TIMES]})
        for name, options in fieldsets
    ]
    return [(name, options) for name, options in kept if options["fields"]]


class InventoryInline(SafeAutocompletes, TabularInline[ModelT, ParentT]):
    form: type[Any] = InventoryForm
    formfield_overrides = FORMFIELDS
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelT]:
        """With the rows that they refer to, which their fields and names show."""
        return super().get_queryset(request).select_related(*relations(self.model))

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **options: Any
    ) -> forms.Field | None:
        return null_boolean_switch(db_field, options) or super().formfield_for_dbfield(db_field, request, **options)


def relations(model: type[models.Model]) -> list[str]:
    return [field.name for field in model._meta.concrete_fields if field.is_relation]


def count_of(rows: QuerySet[Any], *, by: str) -> Coalesce:
    """The number of `rows` whose foreign key `by` is the listed row, as a subquery next to the joins of the list."""
    counted = rows.filter(**{by: OuterRef("pk")}).order_by().values(by).annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted), 0)


def type_badge(device_type: DeviceType) -> SafeString:
    """A dot in the colour of the type, and its name."""
    dot = '<svg class="type-dot" viewBox="0 0 8 8" aria-hidden="true"><circle cx="4" cy="4" r="4" fill="{}"/></svg>'
    return format_html('<span class="type-badge">' + dot + "{}</span>", safe_color(device_type.color), device_type.name)


def legacy_list(value: Any) -> SafeString:
    """`value`, as JSON has it, as nested lists of names and values."""
    if isinstance(value, dict):
        pairs = ((name.replace("_", " "), legacy_list(found)) for name, found in value.items())
        return format_html('<dl class="legacy-values">{}</dl>', format_html_join("", "<dt>{}</dt><dd>{}</dd>", pairs))
    if isinstance(value, list):
        rows = ((legacy_list(found),) for found in value)
        return format_html('<ul class="legacy-rows">{}</ul>', format_html_join("", "<li>{}</li>", rows))
    return format_html("{}", "–" if value is None else value)


def number(value: float | None, unit: str = "") -> str:
    """``2.5 kg``; a dash where it is unknown."""
    return "–" if value is None else f"{value:.6g} {unit}".rstrip()
