"""Racks in the admin: the list with bars for space, power and weight, and the page with the elevation."""

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from homerack.inventory.admin.base import InventoryAdmin, number
from homerack.inventory.admin.links import device_link
from homerack.inventory.admin.positions import RackPositionInline
from homerack.inventory.admin.rack_as_of import as_of_page
from homerack.inventory.capacity import Capacity
from homerack.inventory.models import Rack
from homerack.inventory.rack_detail import build_page
from homerack.inventory.rack_usage import with_usage

MAX_MESSAGES = 3


@admin.register(Rack)
class RackAdmin(InventoryAdmin[Rack]):
    list_display = ("name", "location", "devices_count", "space_used", "power_used", "weight_used")
    list_before_template = "admin/inventory/first_steps.html"
    list_filter = ("location", "width_inches")
    search_fields = ("name", "location")
    inlines = (RackPositionInline,)
    change_form_outer_before_template = "admin/inventory/rack/above_form.html"
    change_form_outer_after_template = "admin/inventory/rack/below_form.html"
    fieldsets = (
        (None, {"fields": (("name", "location"), ("total_height_u", "width_inches"), "depth_mm")}),
        ("Limits", {"fields": (("max_weight_kg", "max_power_watts"),)}),
        (
            "Cooling",
            {
                "fields": (("cooling_capacity_btu",), ("ambient_temp_c", "max_inlet_temp_c")),
                "classes": ("collapse",),
            },
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        view = require_safe(partial(as_of_page, self))
        return [
            path("<int:key>/as-of/", self.admin_site.admin_view(view), name="inventory_rack_as_of"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rack]:
        return with_usage(super().get_queryset(request))

    def describe_found(self, row: Rack) -> str:
        return " · ".join(part for part in (row.location, number(row.total_height_u, "U")) if part)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        rack = self.get_object(request, object_id)
        if rack is not None and self.has_view_or_change_permission(request, rack):
            extra_context = {**(extra_context or {}), "rack_page": build_page(rack, link=device_link(request))}
        return super().change_view(request, object_id, form_url, extra_context)

    def save_related(self, request: HttpRequest, form: ModelForm[Rack], formsets: Any, change: bool) -> None:  # noqa: FBT001
        super().save_related(request, form, formsets, change)
        if "_continue" not in request.POST:  # the page that is shown next has the warnings
            show_warnings(request, form.instance)

    @admin.display(description="devices", ordering="devices_count")
    def devices_count(self, rack: Rack) -> int:
        return int(annotated(rack, "devices_count"))

    @admin.display(description="space", ordering="used_u")
    def space_used(self, rack: Rack) -> SafeString:
        return bar(
            Capacity(name="Space", used=annotated(rack, "used_u"), limit=rack.total_height_u, unit="U", warns=False)
        )

    @admin.display(description="power", ordering="used_watts")
    def power_used(self, rack: Rack) -> SafeString:
        return bar(Capacity(name="Power", used=annotated(rack, "used_watts"), limit=rack.max_power_watts, unit="W"))

    @admin.display(description="weight", ordering="used_kg")
    def weight_used(self, rack: Rack) -> SafeString:
        return bar(Capacity(name="Weight", used=annotated(rack, "used_kg"), limit=rack.max_weight_kg, unit="kg"))


def annotated(rack: Rack, annotation: str) -> float:
    return float(getattr(rack, annotation, 0) or 0)


def bar(capacity: Capacity) -> SafeString:
    """A bar as wide as the used part, with the numbers below."""
    return format_html(
        '<span class="capacity"><svg class="capacity-bar {}" viewBox="0 0 100 6" preserveAspectRatio="none" '
        'aria-hidden="true"><rect class="capacity-rest" width="100" height="6"/>'
        '<rect class="capacity-used" width="{}" height="6"/></svg><span class="capacity-text">{}</span></span>',
        f"is-{capacity.level}",
        capacity.bar,
        capacity.text,
    )


def show_warnings(request: HttpRequest, rack: Rack) -> None:
    """The first warnings about `rack` as messages; a rack from a legacy file may have dozens."""
    warnings = rack.warnings()
    for warning in warnings[:MAX_MESSAGES]:
        messages.warning(request, f"{rack}: {warning}")
    if len(warnings) > MAX_MESSAGES:
        messages.warning(request, f"{rack}: {len(warnings) - MAX_MESSAGES} more on its page.")
