"""The devices of the lab."""

from django.db import models

from homerack.inventory.models.base import LegacyFields, lock
from homerack.inventory.models.catalogue import DeviceModel
from homerack.inventory.models.choices import AccessFrequency
from homerack.inventory.models.positions import find_violations, raise_placement_errors, with_sizes
from homerack.inventory.placement import Dimension, Size
from homerack.ordering import Alphabetical

SUPPLIES_POWER = "ups"
"""The short name of the device type whose `power_watts` is what it delivers; it does not count as consumption."""


class Device(LegacyFields):
    """A device of the lab."""

    custom_name = models.CharField("name")
    model = models.ForeignKey(DeviceModel, on_delete=models.PROTECT, related_name="devices", verbose_name="model")
    access_frequency = models.CharField(
        "access", max_length=20, choices=AccessFrequency, default=AccessFrequency.MEDIUM, null=True, blank=True
    )
    notes = models.TextField("notes", null=True, blank=True)
    serial_number = models.CharField("serial number", null=True, blank=True)

    class Meta:
        base_manager_name = "objects"
        db_table = "devices"
        ordering = (Alphabetical("custom_name"), "pk")
        indexes = (models.Index(Alphabetical("custom_name"), "id", name="devices_in_order"),)

    def __str__(self) -> str:
        return self.custom_name

    @property
    def size(self) -> Size:
        """Without a model, as in a form with an error: no height, and neither width nor depth known."""
        model: DeviceModel | None = getattr(self, "model", None)  # one that is not saved yet has a size, too
        if model is None:
            return Size(height_u=0, width=None, depth_mm=None)
        return Size(height_u=model.height_u, width=model.width_type, depth_mm=model.depth_mm)

    @property
    def power_draw_watts(self) -> float | None:
        """The watts it uses of the rack's power budget; None is unknown."""
        return 0 if self.model.device_type.slug == SUPPLIES_POWER else self.model.power_watts

    def clean(self) -> None:
        super().clean()
        if self.pk is not None and "model" in self.changed_fields() - self.invalid_fields:
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
