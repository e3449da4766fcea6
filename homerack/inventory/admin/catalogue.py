"""Types, brands and models in the admin."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_exempt

from homerack.inventory.admin.base import InventoryAdmin, count_of, number, type_badge
from homerack.inventory.admin.import_device_types import import_page
from homerack.inventory.models import Brand, Device, DeviceModel, DeviceType

SLUG: dict[str, Sequence[str]] = {"slug": ("name",)}


def devices_of_models(*, by: str) -> Coalesce:
    """The number of devices of all models whose foreign key `by` is the listed row: the sum of those of each model.

    PostgreSQL joins all devices with their models instead, for each listed row, if it is asked to count them.
    """
    models = DeviceModel.objects.filter(**{by: OuterRef("pk")}).order_by().values(by)
    summed = models.annotate(number=Sum(count_of(Device.objects.all(), by="model")))
    return Coalesce(Subquery(summed.values("number")), 0)


def count_text(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@admin.register(DeviceType)
class DeviceTypeAdmin(InventoryAdmin[DeviceType]):
    list_display = ("label", "description", "models_count", "devices_count")
    search_fields = ("name", "slug", "description")
    prepopulated_fields = SLUG
    readonly_fields = ("created_at", "updated_at")
    fields = (("name", "slug"), "color", "description", ("created_at", "updated_at"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeviceType]:
        models = count_of(DeviceModel.objects.all(), by="device_type")
        devices = devices_of_models(by="device_type")
        return super().get_queryset(request).annotate(models_count=models, devices_count=devices)

    def describe_found(self, row: DeviceType) -> str:
        return count_text(self.models_count(row), "model")

    @admin.display(description="name", ordering="name")
    def label(self, device_type: DeviceType) -> SafeString | str:
        return type_badge(device_type)

    @admin.display(description="models", ordering="models_count")
    def models_count(self, device_type: DeviceType) -> int:
        return int(getattr(device_type, "models_count", 0))

    @admin.display(description="devices", ordering="devices_count")
    def devices_count(self, device_type: DeviceType) -> int:
        return int(getattr(device_type, "devices_count", 0))


@admin.register(Brand)
class BrandAdmin(InventoryAdmin[Brand]):
    list_display = ("name", "link", "models_count", "devices_count")
    search_fields = ("name", "slug", "description")
    prepopulated_fields = SLUG
    readonly_fields = ("created_at", "updated_at")
    fieldsets = (
        (None, {"fields": (("name", "slug"), "description", ("website", "support_url"))}),
        ("History", {"fields": (("created_at", "updated_at"),)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Brand]:
        models = count_of(DeviceModel.objects.all(), by="brand")
        devices = devices_of_models(by="brand")
        return super().get_queryset(request).annotate(models_count=models, devices_count=devices)

    def describe_found(self, row: Brand) -> str:
        return count_text(self.models_count(row), "model")

    @admin.display(description="website", ordering="website")
    def link(self, brand: Brand) -> SafeString | str:
        if not brand.website or not brand.website.startswith(("https://", "http://")):
            return brand.website or "–"
        shown = brand.website.partition("://")[2].removeprefix("www.").rstrip("/")
        return format_html('<a class="underlined" href="{}" rel="noopener noreferrer">{}</a>', brand.website, shown)

    @admin.display(description="models", ordering="models_count")
    def models_count(self, brand: Brand) -> int:
        return int(getattr(brand, "models_count", 0))

    @admin.display(description="devices", ordering="devices_count")
    def devices_count(self, brand: Brand) -> int:
        return int(getattr(brand, "devices_count", 0))


@admin.register(DeviceModel)
class DeviceModelAdmin(InventoryAdmin[DeviceModel]):
    list_display = ("brand_name", "name", "variant", "type_label", "height", "devices_count")
    list_before_template = "admin/inventory/first_steps.html"
    list_filter = ("device_type", "width_type", "airflow_pattern", ("brand", admin.RelatedOnlyFieldListFilter))
    search_fields = ("name", "variant", "part_number", "description", "brand__name", "device_type__name")
    autocomplete_fields = ("brand", "device_type")
    list_display_links = ("name",)
    needed_first = "A model has a brand and a device type. Add these first."
    readonly_fields = ("last_updated",)
    fieldsets = (
        (None, {"fields": (("brand", "name"), ("variant", "device_type"), "part_number", "description")}),
        (
            "Size, weight and mounting",
            {
                "fields": (
                    ("height_u", "width_type"),
                    ("depth_mm", "weight_kg"),
                    ("mounting_type", "airflow_pattern"),
                )
            },
        ),
        ("Power and heat", {"fields": (("power_watts", "heat_output_btu"), "max_operating_temp_c")}),
        ("Ports", {"fields": ("typical_ports",)}),
        ("Lifecycle and documents", {"fields": (("release_date", "end_of_life"), "datasheet_url")}),
        ("History", {"fields": ("last_updated",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeviceModel]:
        devices = count_of(Device.objects.all(), by="model")
        # Answers of autocomplete fields come from here too, and name the brand.
        return super().get_queryset(request).select_related("brand", "device_type").annotate(devices_count=devices)

    def get_urls(self) -> list[Any]:
        # It checks the token itself, after it has limited what is read.
        view = csrf_exempt(partial(import_page, self))
        return [
            path("import/", self.admin_site.admin_view(view), name="inventory_devicemodel_import"),
            *super().get_urls(),
        ]

    def describe_found(self, row: DeviceModel) -> str:
        return f"{row.device_type} · {self.height(row)} · {count_text(self.devices_count(row), 'device')}"

    @admin.display(description="brand", ordering="brand__name")
    def brand_name(self, model: DeviceModel) -> str:
        return model.brand.name

    @admin.display(description="type", ordering="device_type__name")
    def type_label(self, model: DeviceModel) -> SafeString | str:
        return type_badge(model.device_type)

    @admin.display(description="height", ordering="height_u")
    def height(self, model: DeviceModel) -> str:
        return number(model.height_u, "U")

    @admin.display(description="devices", ordering="devices_count")
    def devices_count(self, model: DeviceModel) -> int:
        return int(getattr(model, "devices_count", 0))
