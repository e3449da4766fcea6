"""The filters of the timeline: a form of the address."""

import datetime as dt
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import capfirst
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from homerack.history.admin.access import models_in_order, scope_of, viewable_models
from homerack.history.entry_points import EntryPoint
from homerack.history.models import ChangeSet
from homerack.history.timeline import Scope, in_scope

FIRST_DAY, LAST_DAY = dt.date(1970, 1, 1), dt.date(2999, 12, 31)


class DayField(forms.DateField):
    """A day with the field of the browser. It accepts days that every database and time zone has."""

    widget = UnfoldAdminTextInputWidget(attrs={"type": "date"})

    def __init__(self, **options: Any) -> None:
        limits = (
            MinValueValidator(FIRST_DAY, "This day is too early."),
            MaxValueValidator(LAST_DAY, "This day is too late."),
        )
        super().__init__(validators=limits, required=False, **options)


class TimelineFilters(forms.Form):
    """All fields are optional. `scope` and `change_sets` are what they choose."""

    q = forms.CharField(
        label="Name", required=False, max_length=200, widget=UnfoldAdminTextInputWidget(attrs={"type": "search"})
    )
    kind = forms.ChoiceField(label="Kind", required=False, widget=UnfoldAdminSelectWidget)
    person = forms.CharField(
        label="Person", required=False, max_length=200, widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"})
    )
    through = forms.ChoiceField(label="Through", required=False, widget=UnfoldAdminSelectWidget)
    since = DayField(label="From")
    until = DayField(label="Until")

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request.GET)
        self.request = request
        self.models = {str(model._meta.model_name): model for model in viewable_models(request)}
        kinds = [(name, capfirst(model._meta.verbose_name_plural)) for name, model in self.models.items()]
        self.fields["kind"].choices = [("", "All"), *kinds]  # type: ignore[attr-defined]
        self.fields["through"].choices = [("", "All"), *EntryPoint.choices]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = self.cleaned_data
        if values.get("since") and values.get("until") and values["since"] > values["until"]:
            self.add_error("until", "This day is before the first one.")
        return values

    @property
    def scope(self) -> Scope:
        """The rows of the chosen kind, or of all; those that have the searched text."""
        kind = self.cleaned_data["kind"]
        models = [self.models[kind]] if kind else list(self.models.values())
        return scope_of(self.request, models, text=self.cleaned_data["q"])

    def change_sets(self, scope: Scope) -> QuerySet[ChangeSet]:
        values = self.cleaned_data
        condition = in_scope(scope)
        if not values["kind"] and not values["q"]:
            # Entries without rows, such as a restore, say nothing that permissions protect.
            condition |= ~in_scope(scope_of(self.request, models_in_order()))
        found = ChangeSet.objects.filter(condition)
        if values["person"]:
            found = found.filter(user_name__icontains=values["person"])
        if values["through"]:
            found = found.filter(entry_point=values["through"])
        if values["since"]:
            found = found.filter(time__gte=start_of(values["since"]))
        if values["until"]:
            found = found.filter(time__lt=start_of(values["until"] + dt.timedelta(days=1)))
        return found


def start_of(day: dt.date) -> dt.datetime:
    """The first moment of `day` in the time zone of the site."""
    return timezone.make_aware(dt.datetime.combine(day, dt.time()))
