"""Racks: their size, and what their devices use of it."""

from collections.abc import Iterable, Sequence

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from homerack.inventory.capacity import Capacity
from homerack.inventory.models.base import LegacyFields, lock, validate_not_negative, validate_positive
from homerack.inventory.models.choices import Width
from homerack.inventory.models.positions import (
    RackPosition,
    changed_dimensions,
    find_violations,
    raise_placement_errors,
    with_sizes,
)
from homerack.inventory.placement import MAX_HEIGHT_U, Dimension, Space
from homerack.ordering import Alphabetical

FIELDS = {Dimension.HEIGHT: "total_height_u", Dimension.WIDTH: "width_inches", Dimension.DEPTH: "depth_mm"}
"""The field of a rack's form that shows an error of each kind."""


class Rack(LegacyFields):
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
        help_text="The depth that devices can use.",
    )
    max_weight_kg = models.FloatField(
        "maximum load (kg)", default=500.0, null=True, blank=True, validators=[validate_positive]
    )
    max_power_watts = models.FloatField(
        "power budget (W)", default=5000.0, null=True, blank=True, validators=[validate_positive]
    )
    cooling_capacity_btu = models.FloatField(
        "cooling capacity (BTU/h)", default=17000.0, null=True, blank=True, validators=[validate_not_negative]
    )
    ambient_temp_c = models.FloatField("ambient temperature (°C)", default=22.0, null=True, blank=True)
    max_inlet_temp_c = models.FloatField("maximum inlet temperature (°C)", default=27.0, null=True, blank=True)

    class Meta:
        base_manager_name = "objects"
        db_table = "racks"
        ordering = (Alphabetical("name"), "pk")

    def __str__(self) -> str:
        return self.name

    @property
    def space(self) -> Space:
        return Space(
            name=self.name or "the rack", height_u=self.total_height_u, width=self.width_inches, depth_mm=self.depth_mm
        )

    def placed(self) -> list[RackPosition]:
        """Its positions from the top down, with their devices and sizes, in one query."""
        return list(with_sizes(self.positions.order_by("-start_u", "pk")))

    def capacities(self, positions: Sequence[RackPosition]) -> list[Capacity]:
        """Space, power and weight that the devices at `positions` (from `placed`) use."""
        devices = [position.device for position in positions]
        used_units = {unit for position in positions for unit in position.placement.units}
        power = [device.power_draw_watts for device in devices]
        weight = [device.model.weight_kg for device in devices]
        return [
            Capacity(name="Space", used=len(used_units), limit=self.total_height_u, unit="U", warns=False),
            capacity_of("Power", power, self.max_power_watts, "W"),
            capacity_of("Weight", weight, self.max_weight_kg, "kg"),
        ]

    def warnings(self, positions: Sequence[RackPosition] | None = None) -> list[str]:
        """Capacities that are nearly used up or exceeded, and devices that do not fit where they are mounted."""
        positions = self.placed() if positions is None else positions
        exceeded = [capacity.warning for capacity in self.capacities(positions) if capacity.warning]
        return exceeded + [error.message for error in find_violations(positions, pairs_once=True)]

    def clean(self) -> None:
        """Raise ValidationError if the devices in the rack do not fit into its new size."""
        super().clean()
        dimensions = {found for found in changed_dimensions(self, FIELDS) if FIELDS[found] not in self.invalid_fields}
        if not dimensions:
            return
        positions = self.placed()
        for position in positions:
            position.rack = self
        raise_placement_errors(find_violations(positions, dimensions=dimensions), FIELDS)

    def lock_rows(self) -> None:
        if self.pk is not None:
            lock(Rack.objects.filter(pk=self.pk))


def capacity_of(name: str, figures: Iterable[float | None], limit: float | None, unit: str) -> Capacity:
    known = [figure for figure in figures if figure is not None]
    unknown = sum(figure is None for figure in figures)
    return Capacity(name=name, used=sum(known), limit=limit, unit=unit, unknown=unknown)
