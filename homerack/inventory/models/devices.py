"""The devices of the lab."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from homerack.inventory.models.base import ValidatedModel, lock
from homerack.inventory.models.catalogue import DeviceModel, DeviceSpecification, DeviceType
from homerack.inventory.models.choices import AccessFrequency
from homerack.inventory.models.positions import find_violations, raise_placement_errors, with_sizes
from homerack.inventory.placement import Dimension, Size
from homerack.ordering import Alphabetical

SUPPLIES_POWER = "ups"
"""The short name of the device type whose `power_watts` is what it delivers; it does not count as consumption."""


class Device(ValidatedModel):
    """A device of the lab."""

    custom_name = models.CharField("name")
    specification = models.ForeignKey(
        DeviceSpecification,
        on_delete=models.PROTECT,
        related_name="devices",
        blank=True,
        verbose_name="specification",
        help_text="For devices without a catalogue model. Leave empty to use the specification of the model.",
    )
    model = models.ForeignKey(
        DeviceModel, on_delete=models.PROTECT, related_name="devices", null=True, blank=True, verbose_name="model"
    )
    # Copies of the brand's and the model's names, which legacy programs search by.
    brand_name = models.CharField("brand", db_column="brand", db_index=True, null=True, blank=True, editable=False)
    model_name = models.CharField("model name", db_column="model", db_index=True, null=True, blank=True, editable=False)
    access_frequency = models.CharField(
        "access", max_length=20, choices=AccessFrequency, default=AccessFrequency.MEDIUM, null=True, blank=True
    )
    notes = models.TextField("notes", null=True, blank=True)
    serial_number = models.CharField("serial number", null=True, blank=True)

    class Meta:
        db_table = "devices"
        ordering = (Alphabetical("custom_name"), "pk")
        indexes = (models.Index(Alphabetical("custom_name"), "id", name="devices_in_order"),)

    def __str__(self) -> str:
        return self.custom_name

    def save(self, *args: Any, **options: Any) -> None:
        """Save. With `update_fields`, the fields that depend on the model are saved as well."""
        fields = options.get("update_fields")
        if fields is not None and not {"model", "specification"}.isdisjoint(fields):
            options["update_fields"] = {*fields, "specification", "brand_name", "model_name"}
        super().save(*args, **options)

    def effective(self, name: str) -> Any:
        """`name` (such as ``depth_mm``) of the catalogue's model, or else of the specification; None is unknown."""
        for source in (self.model, self.specification if self.specification_id else None):
            value = getattr(source, name, None)
            if value is not None:
                return value
        return None

    @property
    def size(self) -> Size:
        return Size(
            height_u=self.effective("height_u") or 0,
            width=self.effective("width_type"),
            depth_mm=self.effective("depth_mm"),
        )

    @property
    def device_type(self) -> DeviceType | None:
        return self.model.device_type if self.model else None

    @property
    def power_draw_watts(self) -> float | None:
        """The watts it uses of the rack's power budget; None is unknown."""
        if self.device_type and self.device_type.slug == SUPPLIES_POWER:
            return 0
        watts: float | None = self.effective("power_watts")
        return watts

    @property
    def kind(self) -> str:
        """Brand and model."""
        return str(self.model or (self.specification if self.specification_id else ""))

    def clean(self) -> None:
        super().clean()
        if self.model is None and not self.specification_id:
            raise ValidationError(
                {"model": "Choose a model, or a specification for a device without a catalogue model."}
            )
        if self.pk is not None and self.changed_fields() & {"model", "specification"}:
            self.refuse_if_too_large()

    def refuse_if_too_large(self) -> None:
        """Raise ValidationError if the device does not fit at its positions with its new model."""
        positions = list(with_sizes(self.positions.all()))
        for position in positions:
            position.device = self
        raise_placement_errors(find_violations(positions), dict.fromkeys(Dimension, "model"))

    def lock_rows(self) -> None:
        if self.pk is not None:
            lock(Device.objects.filter(pk=self.pk))

    def set_defaults(self) -> None:
        self.set_specification()
        self.set_names()

    def set_specification(self) -> None:
        """The specification follows the model, unless it was chosen or belongs to no model."""
        if self.model is None:
            return
        follows = "model" in self.changed_fields() and "specification" not in self.changed_fields()
        belongs = self.specification_id and self.specification.migrated_to_model_id
        if not self.specification_id or (follows and belongs and belongs != self.model.pk):
            self.specification = DeviceSpecification.for_model(self.model)

    def set_names(self) -> None:
        if not self.changed_fields() & {"model", "specification"} or not (self.model or self.specification_id):
            return
        if self.model is not None:
            self.brand_name, self.model_name = self.model.brand.name, self.model.name
        else:
            self.brand_name, self.model_name = self.specification.brand, self.specification.model
