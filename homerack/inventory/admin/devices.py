"""Devices in the admin: the list, and the page with rack position and cables."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from homerack.inventory.admin.base import (
    InventoryAdmin,
    InventoryInline,
    count_of,
    number,
    type_badge,
)
from homerack.inventory.admin.positions import DevicePositionInline
from homerack.inventory.admin.racks import show_warnings
from homerack.inventory.models import Brand, Cable, Device, DeviceModel, Rack, RackPosition
from homerack.inventory.models.choices import AccessFrequency
from homerack.ordering import Alphabetical

MAX_CHOICES = 100
"""Racks in the filter."""
CABLE_DETAILS = ("cable_type", "calculated_length_m", "routing_path")


class MountedFilter(admin.SimpleListFilter):
    title = "rack position"
    parameter_name = "mounted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:  # noqa: ARG002
        return (("yes", "in a rack"), ("no", "not in a rack"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:  # noqa: ARG002
        is_mounted = Exists(RackPosition.objects.filter(device=OuterRef("pk")))
        wanted = {"yes": is_mounted, "no": ~is_mounted}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(wanted)


class RackFilter(admin.RelatedFieldListFilter):
    """Hidden if there are more than `MAX_CHOICES` racks; the page of a rack lists its devices."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[int, str]]:  # type: ignore[override]  # noqa: ARG002
        racks = list(Rack.objects.values_list("pk", "name")[: MAX_CHOICES + 1])
        return racks if len(racks) <= MAX_CHOICES else []


class BrandFilter(admin.RelatedFieldListFilter):
    """The brands that have devices. Django's own filter reads all devices to find them."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[int, str]]:  # type: ignore[override]  # noqa: ARG002
        models = DeviceModel.objects.filter(Exists(Device.objects.filter(model=OuterRef("pk"))))
        used = Brand.objects.filter(Exists(models.filter(brand=OuterRef("pk"))))
        return list(used.values_list("pk", "name"))


class OutgoingCableInline(InventoryInline[Cable, Device]):
    model = Cable
    fk_name = "from_device"
    fields = ("from_port", "to_device", "to_port", *CABLE_DETAILS)
    autocomplete_fields = ("to_device",)
    ordering: ClassVar[Any] = (Alphabetical("from_port").asc(nulls_last=True), "pk")
    verbose_name_plural = "outgoing cables"
    hide_title = True


class IncomingCableInline(InventoryInline[Cable, Device]):
    model = Cable
    fk_name = "to_device"
    fields = ("to_port", "from_device", "from_port", *CABLE_DETAILS)
    autocomplete_fields = ("from_device",)
    ordering: ClassVar[Any] = (Alphabetical("to_port").asc(nulls_last=True), "pk")
    verbose_name_plural = "incoming cables"
    hide_title = True


@admin.register(Device)
class DeviceAdmin(InventoryAdmin[Device]):
    list_display = (
        "custom_name",
        "type_label",
        "brand",
        "model_label",
        "position",
        "cables_count",
        "frequency",
        "serial_number",
    )
    list_filter = (
        "model__device_type",
        MountedFilter,
        ("positions__rack", RackFilter),
        ("model__brand", BrandFilter),
        "access_frequency",
    )
    needed_first = "A device has a model. Add its device type, its brand and its model first."
    show_full_result_count = False
    search_fields = (
        "custom_name",
        "serial_number",
        "model__brand__name",
        "model__name",
        "model__variant",
        "notes",
    )
    autocomplete_fields = ("model",)
    readonly_fields = ("dimensions", "ports")
    inlines = (DevicePositionInline, OutgoingCableInline, IncomingCableInline)
    fieldsets = (
        (None, {"fields": (("custom_name", "serial_number"), "model", "access_frequency", "notes")}),
        ("Hardware", {"fields": ("dimensions", "ports")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Device]:
        positions = RackPosition.objects.filter(device=OuterRef("pk")).order_by("pk")
        outgoing = count_of(Cable.objects.all(), by="from_device")
        incoming = count_of(Cable.objects.all(), by="to_device")
        return (
            super()
            .get_queryset(request)
            .select_related("model__brand", "model__device_type")
            .annotate(
                cables_count=outgoing + incoming,
                rack_name=Subquery(positions.values("rack__name")[:1]),
                rack_unit=Subquery(positions.values("start_u")[:1]),
            )
        )

    def save_related(self, request: HttpRequest, form: ModelForm[Device], formsets: Any, change: bool) -> None:  # noqa: FBT001
        super().save_related(request, form, formsets, change)
        for position in form.instance.positions.select_related("rack"):
            show_warnings(request, position.rack)

    @admin.display(description="type", ordering="model__device_type__name")
    def type_label(self, device: Device) -> SafeString:
        return type_badge(device.model.device_type)

    @admin.display(description="brand", ordering="model__brand__name")
    def brand(self, device: Device) -> str:
        return device.model.brand.name

    @admin.display(description="model", ordering="model__name")
    def model_label(self, device: Device) -> str:
        return device.model.name_and_variant

    @admin.display(description="position", ordering="rack_name")
    def position(self, device: Device) -> str:
        rack = getattr(device, "rack_name", None)
        return f"{rack}, U{getattr(device, 'rack_unit', '?')}" if rack else "–"

    @admin.display(description="cables", ordering="cables_count")
    def cables_count(self, device: Device) -> int:
        return int(getattr(device, "cables_count", 0))

    @display(
        description="access",
        ordering="access_frequency",
        label={AccessFrequency.HIGH.label: "success", AccessFrequency.MEDIUM.label: "info"},
    )
    def frequency(self, device: Device) -> str:
        return str(device.get_access_frequency_display() or "unknown")

    @admin.display(description="dimensions")
    def dimensions(self, device: Device) -> str:
        if not device.model_id:
            return "–"
        model = device.model
        known = (
            number(model.height_u, "U"),
            model.width_type and f"{model.width_type} wide",
            model.depth_mm and f"{model.depth_mm:g} mm deep",
            number(model.weight_kg, "kg"),
            number(model.power_watts, "W"),
        )
        return ", ".join(part for part in known if part and part != "–")

    @admin.display(description="ports")
    def ports(self, device: Device) -> SafeString | str:
        ports = device.model.typical_ports if device.model_id else None
        if not isinstance(ports, dict) or not ports:
            return "–"
        rows = ((count, kind.replace("_", " ")) for kind, count in ports.items())
        chips = format_html_join("", '<span class="port-chip"><b>{}</b> {}</span>', rows)
        return format_html('<span class="port-chips">{}</span>', chips)
