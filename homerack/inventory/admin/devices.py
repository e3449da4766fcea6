"""Devices in the admin: the list, and the page with rack position and cables."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe
from unfold.decorators import action, display

from homerack.inventory.admin.base import (
    InventoryAdmin,
    InventoryInline,
    count_of,
    number,
    type_badge,
)
from homerack.inventory.admin.demo import remove_demo_view
from homerack.inventory.admin.new_device import MAX_SUGGESTIONS, NewDeviceForm, may_place
from homerack.inventory.admin.positions import DevicePositionInline
from homerack.inventory.admin.racks import MAX_MESSAGES, show_warnings
from homerack.inventory.models import Brand, Cable, Device, DeviceModel, Rack, RackPosition
from homerack.inventory.models.choices import AccessFrequency
from homerack.inventory.names import (
    NOT_MOUNTED,
    label_of,
    next_name,
    others_of_the_name,
    place_of,
    same_names,
    with_place,
)
from homerack.ordering import Alphabetical

MAX_CHOICES = 100
"""Racks in the filter."""
PLACE = "Place"
"""The part of the form to add devices that is for users who may place them."""
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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cable]:
        return super().get_queryset(request).prefetch_related("to_device__positions__rack")


class IncomingCableInline(InventoryInline[Cable, Device]):
    model = Cable
    fk_name = "to_device"
    fields = ("to_port", "from_device", "from_port", *CABLE_DETAILS)
    autocomplete_fields = ("from_device",)
    ordering: ClassVar[Any] = (Alphabetical("to_port").asc(nulls_last=True), "pk")
    verbose_name_plural = "incoming cables"
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cable]:
        return super().get_queryset(request).prefetch_related("from_device__positions__rack")


@admin.register(Device)
class DeviceAdmin(InventoryAdmin[Device]):
    list_display = (
        "name",
        "type_label",
        "brand",
        "model_label",
        "position",
        "cables_count",
        "frequency",
        "serial_number",
    )
    list_before_template = "admin/inventory/first_steps.html"
    list_filter = (
        "model__device_type",
        MountedFilter,
        ("positions__rack", RackFilter),
        ("model__brand", BrandFilter),
        "access_frequency",
    )
    show_full_result_count = False
    search_fields = (
        "custom_name",
        "serial_number",
        "notes",
        "model__name",
        "model__variant",
        "model__part_number",
        "model__brand__name",
        "model__device_type__name",
        "positions__rack__name",
        "positions__rack__location",
    )
    autocomplete_fields = ("model",)
    readonly_fields = ("dimensions", "ports")
    inlines = (DevicePositionInline, OutgoingCableInline, IncomingCableInline)
    fieldsets = (
        (None, {"fields": (("custom_name", "serial_number"), "model", "access_frequency", "notes")}),
        ("Hardware", {"fields": ("dimensions", "ports")}),
    )
    add_fieldsets = (
        (None, {"fields": (("custom_name", "number"),)}),
        ("Model", {"fields": (("brand", "product"), ("device_type", "height_u"))}),
        (PLACE, {"fields": (("rack", "start_u"),)}),
        ("More", {"fields": (("serial_number", "access_frequency"), "notes")}),
    )
    label_of_choice = staticmethod(label_of)
    actions_row = ("duplicate",)
    actions_detail = ("duplicate",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Device]:
        outgoing = count_of(Cable.objects.all(), by="from_device")
        incoming = count_of(Cable.objects.all(), by="to_device")
        return (
            with_place(super().get_queryset(request))
            .select_related("model__brand", "model__device_type")
            .annotate(cables_count=outgoing + incoming, name_is_shared=Exists(others_of_the_name()))
        )

    def describe_found(self, row: Device) -> str:
        parts = (row.model.device_type.name, place_of(row) or NOT_MOUNTED, str(row.model), row.serial_number)
        return " · ".join(part for part in parts if part)

    # --- Add devices ------------------------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        views = (("models_of_brand", require_safe(self.models_of_brand)), ("remove_demo", remove_demo_view))
        paths = [
            path(f"{name.replace('_', '-')}/", self.admin_site.admin_view(view), name=f"inventory_device_{name}")
            for name, view in views
        ]
        return [*paths, *super().get_urls()]

    def models_of_brand(self, request: HttpRequest) -> JsonResponse:
        """The models of the brand that the form to add devices names, for its suggestions."""
        brand = request.GET.get("brand", "")
        if not request.user.has_perm("inventory.view_devicemodel"):
            raise PermissionDenied
        models = DeviceModel.objects.filter(brand__name__iexact=brand).select_related("device_type")
        found = [
            {"name": model.name_and_variant, "type": model.device_type.name, "height": model.height_u}
            for model in models[:MAX_SUGGESTIONS]
        ]
        return JsonResponse({"models": found})

    @action(description="Duplicate", icon="content_copy", permissions=("duplicate",))
    def duplicate(self, request: HttpRequest, object_id: str) -> HttpResponse:  # noqa: ARG002
        """Open the form to add devices, filled in with this one's values."""
        return HttpResponseRedirect(f"{reverse('admin:inventory_device_add')}?{urlencode({'copy_of': object_id})}")

    def has_duplicate_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:  # noqa: ARG002
        """unfold looks up a permission with a dot in the database while commands start, before there are tables."""
        return self.has_add_permission(request)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        copied = self.get_object(request, request.GET.get("copy_of", ""))
        if copied is None or not self.has_view_or_change_permission(request, copied):
            return super().get_changeform_initial_data(request)
        return {
            "custom_name": next_name(copied.custom_name),
            "brand": copied.model.brand.name,
            "product": copied.model.name_and_variant,
            "access_frequency": copied.access_frequency,
            "notes": copied.notes,
        }

    def get_form(
        self,
        request: HttpRequest,
        obj: Device | None = None,
        change: bool = False,  # noqa: FBT001, FBT002  # Django's interface
        **options: Any,
    ) -> type[ModelForm[Device]]:
        if obj is not None:
            return super().get_form(request, obj, change, **options)
        form = super().get_form(request, obj, change, **{"form": NewDeviceForm, **options})
        form.user = request.user  # type: ignore[attr-defined]
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Device | None = None) -> Any:
        found = super().get_fieldsets(request, obj)
        if obj or may_place(request.user):
            return found
        return [(name, options) for name, options in found if name != PLACE]

    def get_inlines(self, request: HttpRequest, obj: Device | None) -> Any:
        """A new device has a place in its form, and gets its cables on its page."""
        return super().get_inlines(request, obj) if obj else ()

    def save_model(self, request: HttpRequest, obj: Device, form: Any, change: bool) -> None:  # noqa: FBT001
        if change:
            super().save_model(request, obj, form, change)
            return
        form.save_all()
        for row in form.added:
            self.log_addition(request, row, [{"added": {}}])
        if added := form.describe_added():
            messages.success(request, added)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:  # noqa: FBT001
        super().save_related(request, form, formsets, change)
        device = form.instance
        for position in device.positions.select_related("rack"):
            show_warnings(request, position.rack)
        names = [device.custom_name, *(form.names() if not change else ())]
        for devices in same_names(names)[:MAX_MESSAGES]:
            places = "; ".join(place_of(each) or NOT_MOUNTED for each in devices)
            messages.warning(request, f"{len(devices)} devices are named {devices[0]}: {places}.")

    # --- The list and the page ----------------------------------------------------------------------------------
    @admin.display(description="name", ordering="custom_name")
    def name(self, device: Device) -> SafeString | str:
        if not getattr(device, "name_is_shared", False):
            return device.custom_name
        return format_html(
            '{} <span class="name-warning"><span class="material-symbols-outlined">warning</span>'
            "Another device has this name</span>",
            device.custom_name,
        )

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
        return place_of(device) or "–"

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
