"""The page of a rack as it was at the end of a day."""

import datetime as dt
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.core.validators import MinValueValidator
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from homerack.history.models import ChangeSet
from homerack.inventory.admin.links import existing_device_link
from homerack.inventory.models import Rack
from homerack.inventory.rack_detail import draw_rack
from homerack.inventory.rack_past import rack_before

FIRST_DAY = dt.date(1970, 1, 2)


class DayForm(forms.Form):
    day = forms.DateField(
        label="As of",
        validators=[MinValueValidator(FIRST_DAY, "This day is too early.")],
        error_messages={"required": "Choose a day.", "invalid": "Enter a day, such as 2026-11-30."},
    )

    def clean_day(self) -> dt.date:
        day: dt.date = self.cleaned_data["day"]
        if day > timezone.localdate():
            raise forms.ValidationError("This day has not begun yet.")
        return day


def as_of_page(admin: Any, request: HttpRequest, key: int) -> HttpResponse:
    """Also of a rack that was deleted since. The day is in the address."""
    if not admin.has_view_or_change_permission(request):
        raise PermissionDenied
    rack = Rack.objects.filter(pk=key).first()
    if rack is None and not Rack.history.model.objects.filter(id=key).exists():
        raise Http404(f"There is no rack {key}.")
    form = DayForm(request.GET if "day" in request.GET else None, initial={"day": timezone.localdate()})
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "object": rack,
        "rack_key": key,
        "title": "As of a day",
        "form": form,
    }
    if form.is_valid():
        context |= past_context(request, key, form.cleaned_data["day"])
    return TemplateResponse(request, "admin/inventory/rack/as_of.html", context, status=200 if not form.errors else 422)


def past_context(request: HttpRequest, key: int, day: dt.date) -> dict[str, Any]:
    past = rack_before(key, end_of(day))
    first = ChangeSet.objects.order_by("time", "pk").values_list("time", flat=True).first()
    began = timezone.localdate(first) if first else None
    return {
        "day": day,
        "title": f"As of {day}",
        "past": past,
        "began": began if began and day < began else None,
        "rack_page": past and draw_rack(past.rack, past.positions, link=existing_device_link(request, past.positions)),
    }


def end_of(day: dt.date) -> dt.datetime:
    """The first moment of the next day in the time zone of the site."""
    return timezone.make_aware(dt.datetime.combine(day + dt.timedelta(days=1), dt.time()))
