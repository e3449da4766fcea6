"""The list of cables."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from homerack.inventory.admin.base import InventoryAdmin, number
from homerack.inventory.models import Cable
from homerack.inventory.models.cabling import describe_end
from homerack.inventory.models.choices import CableType

TYPE_COLORS = {
    CableType.CAT5E.label: "info",
    CableType.CAT6.label: "info",
    CableType.CAT6A.label: "info",
    CableType.CAT7.label: "info",
    CableType.FIBER_SM.label: "warning",
    CableType.FIBER_MM.label: "success",
    CableType.POWER.label: "danger",
    CableType.CONSOLE.label: "primary",
}


class LengthFilter(admin.SimpleListFilter):
    title = "length"
    parameter_name = "length"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:  # noqa: ARG002
        return (("known", "known"), ("unknown", "unknown"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Cable]) -> QuerySet[Cable]:  # noqa: ARG002
        if self.value() in {"known", "unknown"}:
            return queryset.filter(calculated_length_m__isnull=self.value() == "unknown")
        return queryset


@admin.register(Cable)
class CableAdmin(InventoryAdmin[Cable]):
    list_display = ("from_end", "to_end", "type_label", "length", "routing_path")
    list_filter = ("cable_type", "routing_path", LengthFilter)
    list_select_related = ("from_device", "to_device")
    search_fields = ("from_device__custom_name", "from_port", "to_device__custom_name", "to_port")
    autocomplete_fields = ("from_device", "to_device")
    needed_first = "A cable connects two devices. Add the devices first."
    fieldsets = (
        (None, {"fields": ("from_device", "from_port", "to_device", "to_port")}),
        ("Cable", {"fields": ("cable_type", ("calculated_length_m", "routing_path"))}),
    )

    def describe_found(self, row: Cable) -> str:
        return self.type_label(row)

    @admin.display(description="from", ordering="from_device__custom_name")
    def from_end(self, cable: Cable) -> str:
        return describe_end(cable.from_device, cable.from_port)

    @admin.display(description="to", ordering="to_device__custom_name")
    def to_end(self, cable: Cable) -> str:
        return describe_end(cable.to_device, cable.to_port)

    @display(description="type", ordering="cable_type", label=TYPE_COLORS)
    def type_label(self, cable: Cable) -> str:
        return str(cable.get_cable_type_display() or "unknown")

    @admin.display(description="length", ordering="calculated_length_m")
    def length(self, cable: Cable) -> str:
        return number(cable.calculated_length_m, "m")
