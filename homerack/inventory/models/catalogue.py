"""The catalogue: types of devices, brands and their models."""

import datetime as dt
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from homerack.inventory.models.base import LegacyFields, validate_not_negative, validate_positive
from homerack.inventory.models.choices import Airflow, Width
from homerack.inventory.models.positions import validate_placements
from homerack.inventory.placement import Dimension
from homerack.ordering import Alphabetical

PORTS_HELP = 'Port types and counts as JSON: {"gigabit_ethernet": 48, "sfp_plus_10g": 4}'


SIZE_FIELDS = {
    Dimension.HEIGHT: "height_u",
    Dimension.OVERLAP: "height_u",
    Dimension.WIDTH: "width_type",
    Dimension.DEPTH: "depth_mm",
}
"""The field of a form that shows an error of each kind."""


def validate_ports(value: Any) -> None:
    """Ports are counted: ``{"sfp": 4}``."""
    if not isinstance(value, dict) or not all(
        isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in value.values()
    ):
        raise ValidationError('Enter port types and counts, such as {"gigabit_ethernet": 48}.', code="ports")


def require_later_end(released: dt.date | None, end: dt.date | None) -> None:
    if released and end and end < released:
        raise ValidationError({"end_of_life": "The end of life must not be before the release."})


class DeviceType(LegacyFields):
    """A kind of device: switch, server, patch panel."""

    name = models.CharField("name", max_length=100, unique=True)
    slug = models.SlugField("short name", max_length=100, unique=True)
    description = models.TextField("description", null=True, blank=True)
    color = models.CharField(
        "colour",
        max_length=50,
        null=True,
        blank=True,
        validators=[RegexValidator(r"^#(?:[0-9A-Fa-f]{3}){1,2}\Z", "Enter a colour such as #3B82F6.")],
        help_text="The colour of these devices in rack drawings. Example: #3B82F6",
    )
    created_at = models.DateTimeField("created", default=timezone.now, null=True, editable=False)
    updated_at = models.DateTimeField("changed", auto_now=True, null=True)

    class Meta:
        base_manager_name = "objects"
        db_table = "device_types"
        ordering = (Alphabetical("name"), "pk")
        verbose_name = "device type"

    def __str__(self) -> str:
        return self.name


class Brand(LegacyFields):
    """Who makes it."""

    name = models.CharField("name", max_length=200, unique=True)
    slug = models.SlugField("short name", max_length=200, unique=True)
    website = models.URLField("website", max_length=500, null=True, blank=True)
    support_url = models.URLField("support page", max_length=500, null=True, blank=True)
    description = models.TextField("description", null=True, blank=True)
    created_at = models.DateTimeField("created", default=timezone.now, null=True, editable=False)
    updated_at = models.DateTimeField("changed", auto_now=True, null=True)

    class Meta:
        base_manager_name = "objects"
        db_table = "brands"
        ordering = (Alphabetical("name"), "pk")

    def __str__(self) -> str:
        return self.name


class DeviceModel(LegacyFields):
    """A model of a brand, with the properties that all its devices have."""

    brand = models.ForeignKey(Brand, on_delete=models.PROTECT, related_name="models", verbose_name="brand")
    device_type = models.ForeignKey(DeviceType, on_delete=models.PROTECT, related_name="models", verbose_name="type")
    name = models.CharField("name", max_length=200, db_index=True)
    variant = models.CharField("variant", max_length=100, null=True, blank=True)
    part_number = models.CharField("part number", max_length=100, null=True, blank=True)
    description = models.TextField("description", null=True, blank=True)
    height_u = models.FloatField(
        "height (U)",
        default=1,
        validators=[validate_not_negative],
        help_text="0 for zero-U devices, such as vertical power strips.",
    )
    width_type = models.CharField(
        "width", max_length=10, choices=Width, default=Width.NINETEEN_INCH, null=True, blank=True
    )
    depth_mm = models.FloatField("depth (mm)", null=True, blank=True, validators=[validate_positive])
    weight_kg = models.FloatField("weight (kg)", null=True, blank=True, validators=[validate_not_negative])
    mounting_type = models.CharField("mounting", max_length=100, null=True, blank=True)
    airflow_pattern = models.CharField("airflow", max_length=50, choices=Airflow, null=True, blank=True)
    power_watts = models.FloatField("power (W)", null=True, blank=True, validators=[validate_not_negative])
    heat_output_btu = models.FloatField("heat (BTU/h)", null=True, blank=True, validators=[validate_not_negative])
    max_operating_temp_c = models.FloatField("maximum operating temperature (°C)", null=True, blank=True)
    typical_ports = models.JSONField("ports", null=True, blank=True, validators=[validate_ports], help_text=PORTS_HELP)
    release_date = models.DateField("released", null=True, blank=True)
    end_of_life = models.DateField("end of life", null=True, blank=True)
    datasheet_url = models.URLField("data sheet", max_length=500, null=True, blank=True)
    last_updated = models.DateTimeField("changed", auto_now=True, null=True)

    class Meta:
        base_manager_name = "objects"
        db_table = "models"
        ordering = (
            Alphabetical("brand__name"),
            Alphabetical("name"),
            Alphabetical("variant").asc(nulls_last=True),
            "pk",
        )
        verbose_name = "model"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("brand", "name", "variant"),
                name="models_brand_name_variant",
                violation_error_message="This brand already has a model with this name and variant.",
            ),
        ]

    def __str__(self) -> str:
        return " ".join(part for part in (self.brand.name, self.name, self.variant) if part)

    @property
    def name_and_variant(self) -> str:
        return f"{self.name}, {self.variant}" if self.variant else self.name

    def clean(self) -> None:
        """Raise ValidationError for a duplicate, and if devices in racks do not fit with the new size."""
        super().clean()
        fields = {found: field for found, field in SIZE_FIELDS.items() if field not in self.invalid_fields}
        validate_placements(self, fields)
        self._refuse_duplicate_without_variant()
        require_later_end(self.release_date, self.end_of_life)

    def _refuse_duplicate_without_variant(self) -> None:
        """NULLs differ from one another in SQL, so the constraint lets two models without a variant pass."""
        if self.variant or not self.changed_fields() & {"brand", "name", "variant"}:
            return
        twins = DeviceModel.objects.filter(brand_id=self.brand_id, name=self.name, variant=self.variant)
        if twins.exclude(pk=self.pk).exists():
            raise ValidationError({"name": "This brand already has a model with this name and no variant."})
