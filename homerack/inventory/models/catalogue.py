"""What can be bought: types, brands, models, and the specifications that older files know devices by."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from homerack.inventory.models.base import ValidatedModel, validate_not_negative, validate_positive
from homerack.inventory.models.choices import Airflow, Confidence, MigrationStatus, Source, Width
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


class DeviceType(ValidatedModel):
    """A kind of device: switch, server, patch panel."""

    name = models.CharField("name", max_length=100, unique=True)
    slug = models.SlugField("short name", max_length=100, unique=True)
    icon = models.CharField("icon", max_length=50, null=True, blank=True, help_text="An emoji.")
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
        db_table = "device_types"
        ordering = (Alphabetical("name"), "pk")
        verbose_name = "device type"

    def __str__(self) -> str:
        return self.name


class Brand(ValidatedModel):
    """Who makes it."""

    name = models.CharField("name", max_length=200, unique=True)
    slug = models.SlugField("short name", max_length=200, unique=True)
    website = models.URLField("website", max_length=500, null=True, blank=True)
    support_url = models.URLField("support page", max_length=500, null=True, blank=True)
    logo_url = models.URLField("logo", max_length=500, null=True, blank=True)
    description = models.TextField("description", null=True, blank=True)
    founded_year = models.IntegerField("founded", null=True, blank=True)
    headquarters = models.CharField("headquarters", max_length=200, null=True, blank=True)
    last_fetched_at = models.DateTimeField("last retrieved", null=True, blank=True)
    fetch_confidence = models.CharField("confidence", max_length=20, choices=Confidence, null=True, blank=True)
    fetch_source = models.CharField("source", max_length=100, null=True, blank=True)
    created_at = models.DateTimeField("created", default=timezone.now, null=True, editable=False)
    updated_at = models.DateTimeField("changed", auto_now=True, null=True)

    class Meta:
        db_table = "brands"
        ordering = (Alphabetical("name"), "pk")

    def __str__(self) -> str:
        return self.name


class Hardware(ValidatedModel):
    """The properties of a device that models and specifications have in common."""

    device_field: ClassVar[str]
    """The foreign key of `Device` that refers to this class."""

    height_u = models.FloatField(
        "height (U)",
        default=1,
        validators=[validate_not_negative],
        help_text="0 for zero-U devices, such as vertical power strips.",
    )
    depth_mm = models.FloatField("depth (mm)", null=True, blank=True, validators=[validate_positive])
    weight_kg = models.FloatField("weight (kg)", null=True, blank=True, validators=[validate_not_negative])
    power_watts = models.FloatField("power (W)", null=True, blank=True, validators=[validate_not_negative])
    heat_output_btu = models.FloatField("heat (BTU/h)", null=True, blank=True, validators=[validate_not_negative])
    max_operating_temp_c = models.FloatField("maximum operating temperature (°C)", null=True, blank=True)
    typical_ports = models.JSONField("ports", null=True, blank=True, validators=[validate_ports], help_text=PORTS_HELP)
    fetched_at = models.DateTimeField("retrieved", null=True, blank=True)
    last_updated = models.DateTimeField("changed", auto_now=True, null=True)

    class Meta:
        abstract = True

    def clean(self) -> None:
        """Raise ValidationError if devices in racks do not fit with the new size."""
        super().clean()
        fields = {found: field for found, field in SIZE_FIELDS.items() if field not in self.invalid_fields}
        validate_placements(self, device_field=self.device_field, fields=fields)


class DeviceModel(Hardware):
    """A model of a brand, in the catalogue."""

    device_field = "model"

    brand = models.ForeignKey(Brand, on_delete=models.PROTECT, related_name="models", verbose_name="brand")
    device_type = models.ForeignKey(DeviceType, on_delete=models.PROTECT, related_name="models", verbose_name="type")
    name = models.CharField("name", max_length=200, db_index=True)
    variant = models.CharField("variant", max_length=100, null=True, blank=True)
    description = models.TextField("description", null=True, blank=True)
    release_date = models.DateField("released", null=True, blank=True)
    end_of_life = models.DateField("end of life", null=True, blank=True)
    width_type = models.CharField(
        "width", max_length=10, choices=Width, default=Width.NINETEEN_INCH, null=True, blank=True
    )
    airflow_pattern = models.CharField("airflow", max_length=50, choices=Airflow, null=True, blank=True)
    mounting_type = models.CharField("mounting", max_length=100, null=True, blank=True)
    datasheet_url = models.URLField("datasheet", max_length=500, null=True, blank=True)
    image_url = models.URLField("image", max_length=500, null=True, blank=True)
    source = models.CharField("source", max_length=50, null=True, blank=True)
    confidence = models.CharField("confidence", max_length=20, choices=Confidence, null=True, blank=True)

    class Meta:
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

    def clean(self) -> None:
        super().clean()
        self._refuse_duplicate_without_variant()
        if self.release_date and self.end_of_life and self.end_of_life < self.release_date:
            raise ValidationError({"end_of_life": "The end of life must not be before the release."})

    def _refuse_duplicate_without_variant(self) -> None:
        """NULLs differ from one another in SQL, so the constraint lets two models without a variant pass."""
        if self.variant or not self.changed_fields() & {"brand", "name", "variant"}:
            return
        twins = DeviceModel.objects.filter(brand_id=self.brand_id, name=self.name, variant=self.variant)
        if twins.exclude(pk=self.pk).exists():
            raise ValidationError({"name": "This brand already has a model with this name and no variant."})


class DeviceSpecification(Hardware):
    """The properties of a device that need not be in the catalogue. Every device has one, because legacy files do."""

    device_field = "specification"

    brand = models.CharField("brand", db_index=True)
    model = models.CharField("model", db_index=True)
    variant = models.CharField("variant", null=True, blank=True)
    width_type = models.CharField(
        "width", max_length=20, choices=Width, default=Width.NINETEEN_INCH, null=True, blank=True
    )
    airflow_pattern = models.CharField(
        "airflow", max_length=20, choices=Airflow, default=Airflow.FRONT_TO_BACK, null=True, blank=True
    )
    mounting_type = models.CharField("mounting", null=True, blank=True)
    source = models.CharField(
        "source", max_length=20, choices=Source, default=Source.USER_CUSTOM, null=True, blank=True
    )
    source_url = models.CharField("source URL", null=True, blank=True)
    confidence = models.CharField(
        "confidence", max_length=20, choices=Confidence, default=Confidence.MEDIUM, null=True, blank=True
    )
    migrated_to_model = models.ForeignKey(
        DeviceModel,
        on_delete=models.SET_NULL,
        related_name="specifications",
        null=True,
        blank=True,
        verbose_name="catalogue model",
    )
    migration_status = models.CharField(
        "catalogue migration", max_length=20, choices=MigrationStatus, null=True, blank=True
    )
    deprecated = models.BooleanField("deprecated", default=False, null=True)

    class Meta:
        db_table = "device_specifications"
        ordering = (Alphabetical("brand"), Alphabetical("model"), Alphabetical("variant").asc(nulls_last=True), "pk")
        verbose_name = "specification"

    def __str__(self) -> str:
        return " ".join(part for part in (self.brand, self.model, self.variant) if part)

    @classmethod
    def for_model(cls, model: DeviceModel) -> "DeviceSpecification":
        """The specification that belongs to `model`; created from it if there is none."""
        known = cls.objects.filter(migrated_to_model=model).order_by("pk").first()
        if known is not None:
            return known
        shared = {field.name: getattr(model, field.name) for field in Hardware._meta.fields}
        specification = cls(
            brand=model.brand.name,
            model=model.name,
            variant=model.variant,
            width_type=model.width_type,
            airflow_pattern=model.airflow_pattern,
            mounting_type=model.mounting_type,
            migrated_to_model=model,
            migration_status=MigrationStatus.COMPLETED,
            **shared,
        )
        specification.save()
        return specification
