"""Types, brands, models and specifications in the admin."""

from collections.abc import Sequence

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from homerack.inventory.admin.base import InventoryAdmin, count_of, number, type_badge
from homerack.inventory.models import Brand, Device, DeviceModel, DeviceSpecification, DeviceType

SLUG: dict[str, Sequence[str]] = {"slug": ("name",)}
SIZE = (("height_u", "width_type"), ("depth_mm", "weight_kg"), ("mounting_type", "airflow_pattern"))
LOAD = (("power_watts", "heat_output_btu"), "max_operating_temp_c")


def devices_of_models(*, by: str) -> Coalesce:
    """The number of devices of all models whose foreign key `by` is the listed row: the sum of those of each model.

    PostgreSQL joins all devices with their models instead, for each listed row, if it is asked to count them.
    """
    models = DeviceModel.objects.filter(**{by: OuterRef("pk")}).order_by().values(by)
    summed = models.annotate(number=Sum(count_of(Device.objects.all(), by="model")))
    return Coalesce(Subquery(summed.values("number")), 0)


@admin.register(DeviceType)
class DeviceTypeAdmin(InventoryAdmin[DeviceType]):
    list_display = ("label", "description", "models_count", "devices_count")
    search_fields = ("name", "slug", "description")
    prepopulated_fields = SLUG
    readonly_fields = ("created_at", "updated_at")
    fields = (("name", "slug"), ("icon", "color"), "description", ("created_at", "updated_at"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeviceType]:
        models = count_of(DeviceModel.objects.all(), by="device_type")
        devices = devices_of_models(by="device_type")
        return super().get_queryset(request).annotate(models_count=models, devices_count=devices)

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
    list_display = ("name", "headquarters", "founded", "link", "models_count", "devices_count")
    list_filter = ("fetch_confidence",)
    search_fields = ("name", "slug", "headquarters")
    prepopulated_fields = SLUG
    readonly_fields = ("created_at", "updated_at")
    fieldsets = (
        (None, {"fields": (("name", "slug"), "description", ("founded_year", "headquarters"))}),
        ("Links", {"fields": (("website", "support_url"), "logo_url")}),
        ("Source", {"fields": (("fetch_source", "fetch_confidence"), "last_fetched_at")}),
        ("History", {"fields": (("created_at", "updated_at"),)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Brand]:
        models = count_of(DeviceModel.objects.all(), by="brand")
        devices = devices_of_models(by="brand")
        return super().get_queryset(request).annotate(models_count=models, devices_count=devices)

    @admin.display(description="founded", ordering="founded_year")
    def founded(self, brand: Brand) -> str:
        return str(brand.founded_year or "–")

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
    list_display = ("full_name", "brand", "type_label", "height", "depth", "weight", "power", "devices_count")
    list_filter = ("device_type", "width_type", "airflow_pattern", ("brand", admin.RelatedOnlyFieldListFilter))
    search_fields = ("name", "variant", "brand__name", "description")
    autocomplete_fields = ("brand", "device_type")
    needed_first = "A model has a brand and a device type. Add these first."
    readonly_fields = ("last_updated",)
    fieldsets = (
        (None, {"fields": ("brand", "device_type", ("name", "variant"), "description")}),
        ("Size, weight and mounting", {"fields": SIZE}),
        ("Power and heat", {"fields": LOAD}),
        ("Ports", {"fields": ("typical_ports",)}),
        ("Lifecycle and documents", {"fields": (("release_date", "end_of_life"), ("datasheet_url", "image_url"))}),
        ("Source", {"fields": (("source", "confidence"), "fetched_at", "last_updated")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeviceModel]:
        devices = count_of(Device.objects.all(), by="model")
        # Answers of autocomplete fields come from here too, and name the brand.
        return super().get_queryset(request).select_related("brand", "device_type").annotate(devices_count=devices)

    @admin.display(description="model", ordering="name")
    def full_name(self, model: DeviceModel) -> str:
        return f"{model.name}, {model.variant}" if model.variant else model.name

    @admin.display(description="type", ordering="device_type__name")
    def type_label(self, model: DeviceModel) -> SafeString | str:
        return type_badge(model.device_type)

    @admin.display(description="height", ordering="height_u")
    def height(self, model: DeviceModel) -> str:
        return number(model.height_u, "U")

    @admin.display(description="depth", ordering="depth_mm")
    def depth(self, model: DeviceModel) -> str:
        return number(model.depth_mm, "mm")

    @admin.display(description="weight", ordering="weight_kg")
    def weight(self, model: DeviceModel) -> str:
        return number(model.weight_kg, "kg")

    @admin.display(description="power", ordering="power_watts")
    def power(self, model: DeviceModel) -> str:
        return number(model.power_watts, "W")

    @admin.display(description="devices", ordering="devices_count")
    def devices_count(self, model: DeviceModel) -> int:
        return int(getattr(model, "devices_count", 0))


@admin.register(DeviceSpecification)
class DeviceSpecificationAdmin(InventoryAdmin[DeviceSpecification]):
    list_display = ("full_name", "brand", "height", "source", "confidence", "in_catalogue", "devices_count")
    list_filter = ("source", "confidence", "migration_status", "deprecated")
    list_select_related = ("migrated_to_model__brand",)
    search_fields = ("brand", "model", "variant")
    autocomplete_fields = ("migrated_to_model",)
    readonly_fields = ("last_updated",)
    fieldsets = (
        (None, {"fields": (("brand", "model"), "variant")}),
        ("Size, weight and mounting", {"fields": SIZE}),
        ("Power and heat", {"fields": LOAD}),
        ("Ports", {"fields": ("typical_ports",)}),
        ("Source", {"fields": (("source", "confidence"), "source_url", "fetched_at", "last_updated")}),
        ("Catalogue", {"fields": ("migrated_to_model", "migration_status", "deprecated")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeviceSpecification]:
        devices = count_of(Device.objects.all(), by="specification")
        return super().get_queryset(request).annotate(devices_count=devices)

    @admin.display(description="model", ordering="model")
    def full_name(self, specification: DeviceSpecification) -> str:
        return f"{specification.model}, {specification.variant}" if specification.variant else specification.model

    @admin.display(description="height", ordering="height_u")
    def height(self, specification: DeviceSpecification) -> str:
        return number(specification.height_u, "U")

    @admin.display(description="catalogue model", ordering="migrated_to_model__name")
    def in_catalogue(self, specification: DeviceSpecification) -> str:
        return str(specification.migrated_to_model or "–")

    @admin.display(description="devices", ordering="devices_count")
    def devices_count(self, specification: DeviceSpecification) -> int:
        return int(getattr(specification, "devices_count", 0))
