"""What is wrong with a form that was not saved, above the form: one link for each mistake, to its field.

The fields themselves say it too. They may be far below, in a row of another table, or folded away.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.forms.boundfield import BoundField
from django.forms.formsets import DELETION_FIELD_NAME
from django.forms.utils import ErrorList
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst
from unfold.admin import ModelAdmin

if TYPE_CHECKING:
    AnyAdmin = ModelAdmin[Any]
else:
    AnyAdmin = object


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """`message` about the field `label`; both are empty where no single field is meant.

    `target` is the id of the element that the link leads to; '' for no link.
    """

    message: str
    label: str = ""
    target: str = ""


class ExplainingAdmin(AnyAdmin):
    """For admin classes: their change forms show the mistakes at the top (``templates/admin/change_form.html``)."""

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *arguments: Any, **options: Any
    ) -> HttpResponse:
        form = context["adminform"].form
        context["mistakes"] = [
            *mistakes_of(form),
            *(mistake for inline in context["inline_admin_formsets"] for mistake in mistakes_of_rows(inline)),
        ]
        if context["mistakes"]:
            # unfold's template would say below them that there are some, and repeat those of no field.
            context["errors"] = None
            form.non_field_errors = ErrorList
        response: HttpResponse = super().render_change_form(request, context, *arguments, **options)
        return response


def mistakes_of(form: forms.BaseForm, *, place: str = "", rows: str = "") -> Iterator[Mistake]:
    """Those of one form. `place` names the row that it is in, and `rows` is the id of the table of that row."""
    for name, messages in form.errors.items():
        field = form[name] if name in form.fields else None
        for message in messages:
            if field is None or field.is_hidden:
                yield Mistake(message=str(message), label=place, target=rows)
            else:
                yield Mistake(message=str(message), label=label_of(field, place), target=target_of(field))


def mistakes_of_rows(inline: Any) -> Iterator[Mistake]:
    """Those of an inline: Django's `InlineAdminFormSet`."""
    formset, name = inline.formset, capfirst(str(inline.opts.verbose_name_plural))
    rows = f"{formset.prefix}-group"
    for message in formset.non_form_errors():
        yield Mistake(message=str(message), label=name, target=rows)
    for number, form in enumerate(formset.forms, start=1):
        if form.errors and form.cleaned_data.get(DELETION_FIELD_NAME):
            continue
        place = name if formset.max_num == 1 else f"{name}, row {number}"
        yield from mistakes_of(form, place=place, rows=rows)


def label_of(field: BoundField, place: str) -> str:
    label = str(field.label)
    return f"{place}: {label}" if place else capfirst(label)


def target_of(field: BoundField) -> str:
    """The id of the widget, of its first part (dates with a time), or of its errors (groups of checkboxes)."""
    first = f"{field.auto_id}_0" if isinstance(field.field.widget, forms.MultiWidget) else f"{field.auto_id}_error"
    return field.id_for_label or first
