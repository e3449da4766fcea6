"""Racks and what stands where in them."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from homerack.inventory.capacity import Capacity
from homerack.inventory.fit import MAX_HEIGHT_U, Dimension, Position, Space
from homerack.inventory.models.base import ValidatedModel, lock, validate_not_negative, validate_positive
from homerack.inventory.models.choices import Width
from homerack.inventory.models.devices import Device
from homerack.inventory.models.placement import find_violations, refuse, with_sizes


class Rack(ValidatedModel):
    """A rack or cabinet."""

    name = models.CharField("name")
    location = models.CharField("location", null=True, blank=True)
    total_height_u = models.IntegerField(
        "height (U)",
        default=42,
        null=True,
        blank=True,
        validators=[
            MinValueValidator(1, "A rack has at least 1 U."),
            MaxValueValidator(MAX_HEIGHT_U, f"A rack has at most {MAX_HEIGHT_U} U."),
        ],
    )
    width_inches = models.CharField(
        "width", max_length=20, choices=Width, default=Width.NINETEEN_INCH, null=True, blank=True
    )
    depth_mm = models.FloatField(
        "depth (mm)",
        default=700.0,
        null=True,
        blank=True,
        validators=[validate_positive],
        help_text="Room for a device.",
    )
    max_weight_kg = models.FloatField(
        "carries (kg)", default=500.0, null=True, blank=True, validators=[validate_positive]
    )
    max_power_watts = models.FloatField(
        "power budget (W)", default=5000.0, null=True, blank=True, validators=[validate_positive]
    )
    cooling_type = models.CharField("cooling", default="front-to-back", null=True, blank=True)
    cooling_capacity_btu = models.FloatField(
        "cooling capacity (BTU/h)", default=17000.0, null=True, blank=True, validators=[validate_not_negative]
    )
    ambient_temp_c = models.FloatField("room temperature (°C)", default=22.0, null=True, blank=True)
    max_inlet_temp_c = models.FloatField("highest inlet temperature (°C)", default=27.0, null=True, blank=True)
    airflow_cfm = models.FloatField("airflow (CFM)", null=True, blank=True, validators=[validate_not_negative])

    class Meta:
        db_table = "racks"
        ordering = ("name", "pk")

    def __str__(self) -> str:
        return self.name

    @property
    def space(self) -> Space:
        return Space(name=self.name, height_u=self.total_height_u, width=self.width_inches, depth_mm=self.depth_mm)

    def placed(self) -> list["RackPosition"]:
        """Its positions from the top down, with their devices and sizes, in one query."""
        return list(with_sizes(self.positions.order_by("-start_u", "pk")))

    def budgets(self, positions: Sequence["RackPosition"]) -> list[Capacity]:
        """Space, power and weight of the devices at `positions` (from `placed`) against what the rack offers."""
        devices = [position.device for position in positions]
        taken = {unit for position in positions for unit in position.place.units}
        power = [device.draws_watts for device in devices]
        weight = [device.effective("weight_kg") for device in devices]
        return [
            Capacity(name="Space", used=len(taken), limit=self.total_height_u, unit="U", warns=False),
            _budget("Power", power, self.max_power_watts, "W"),
            _budget("Weight", weight, self.max_weight_kg, "kg"),
        ]

    def warnings(self, positions: Sequence["RackPosition"] | None = None) -> list[str]:
        """What somebody should look at: budgets that are (nearly) used up, devices that do not fit where they are."""
        positions = self.placed() if positions is None else positions
        over = [budget.warning for budget in self.budgets(positions) if budget.warning]
        return over + [misfit.message for misfit in find_violations(positions, pairs_once=True)]

    def clean(self) -> None:
        """The devices in the rack must still fit after a change of its size."""
        super().clean()
        fields = {
            Dimension.HEIGHT: "total_height_u",
            Dimension.WIDTH: "width_inches",
            Dimension.DEPTH: "depth_mm",
        }
        changed = self.changed()
        aspects = {aspect for aspect, field in fields.items() if field in changed}
        if self.pk is None or not aspects:
            return
        positions = self.placed()
        for position in positions:
            position.rack = self
        refuse(find_violations(positions, aspects=aspects), fields)

    def prepare(self) -> None:
        if self.pk is not None:
            lock(Rack.objects.filter(pk=self.pk))


def _budget(name: str, figures: Iterable[float | None], limit: float | None, unit: str) -> Capacity:
    known = [figure for figure in figures if figure is not None]
    unknown = sum(figure is None for figure in figures)
    return Capacity(name=name, used=sum(known), limit=limit, unit=unit, unknown=unknown)


class RackPosition(ValidatedModel):
    """Where in which rack a device is."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="positions", verbose_name="device")
    rack = models.ForeignKey(Rack, on_delete=models.CASCADE, related_name="positions", verbose_name="rack")
    start_u = models.IntegerField(
        "lowest unit",
        validators=[MinValueValidator(1, "The lowest unit is 1.")],
        help_text="Units count from 1 at the bottom.",
    )
    locked = models.BooleanField(
        "locked", default=False, null=True, help_text="A locked device stays where it is until it is unlocked."
    )

    class Meta:
        db_table = "rack_positions"
        ordering = ("rack", "-start_u", "pk")
        verbose_name = "rack position"

    def __str__(self) -> str:
        return f"{self.device} at U{self.start_u} of {self.rack}"

    @property
    def place(self) -> Position:
        return Position(name=self.device.custom_name, size=self.device.size, start_u=self.start_u)

    def clean(self) -> None:
        super().clean()
        changed = self.changed()
        if self.checked_together or not changed & {"device", "rack", "start_u"}:
            return
        if not self.is_complete():
            return  # said at the field already
        self.refuse_if_locked()
        self.refuse_second_place()
        fields = {
            Dimension.HEIGHT: "start_u",
            Dimension.OVERLAP: "start_u",
            Dimension.WIDTH: "device",
            Dimension.DEPTH: "device",
        }
        refuse(find_violations([self]), fields)

    def is_complete(self) -> bool:
        return hasattr(self, "device") and hasattr(self, "rack") and isinstance(self.start_u, int)

    def refuse_if_locked(self) -> None:
        stored: dict[str, Any] = self.stored_values()
        if stored.get("locked") and self.locked:
            message = f"{self.device} is locked at U{stored['start_u']}. Unlock it, save, and then move it."
            raise ValidationError({"start_u": message})

    def refuse_second_place(self) -> None:
        if self.device._state.adding:
            return
        other = RackPosition.objects.filter(device_id=self.device.pk).exclude(pk=self.pk).select_related("rack").first()
        if other is not None:
            message = f"{self.device} is in {other.rack} at U{other.start_u} already."
            raise ValidationError({"device": message})

    def prepare(self) -> None:
        lock(Device.objects.filter(pk=self.device_id))
        lock(Rack.objects.filter(pk=self.rack_id))
