"""Positions of devices in racks, and the rules about them.

Devices, models and racks call these rules when their sizes change, so this module stands below them and names
`Device` and `Rack` as Django does for models that are defined later.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from homerack.inventory.models.base import ValidatedModel, lock
from homerack.inventory.placement import Dimension, Placement, PlacementError, find_placement_errors

FIELDS = {
    Dimension.HEIGHT: "start_u",
    Dimension.OVERLAP: "start_u",
    Dimension.WIDTH: "device",
    Dimension.DEPTH: "device",
}
"""The field of a position's form that shows an error of each kind."""


class RackPosition(ValidatedModel):
    """The rack and the unit in which a device is mounted."""

    device = models.ForeignKey(
        "inventory.Device", on_delete=models.CASCADE, related_name="positions", verbose_name="device"
    )
    rack = models.ForeignKey("inventory.Rack", on_delete=models.CASCADE, related_name="positions", verbose_name="rack")
    start_u = models.IntegerField(
        "lowest unit",
        validators=[MinValueValidator(1, "The lowest unit is U1.")],
        help_text="Units are numbered from 1 at the bottom.",
    )
    locked = models.BooleanField(
        "locked", default=False, null=True, help_text="A locked device cannot be moved until it is unlocked."
    )

    class Meta:
        base_manager_name = "objects"
        db_table = "rack_positions"
        ordering = ("rack", "-start_u", "pk")
        verbose_name = "rack position"

    def __str__(self) -> str:
        return f"{self.device} at U{self.start_u} of {self.rack}"

    @property
    def placement(self) -> Placement:
        name = self.device.custom_name or "The device"  # an empty name has an error of its own
        return Placement(name=name, size=self.device.size, start_u=self.start_u)

    def clean(self) -> None:
        super().clean()
        if self.validated_by_formset or not self.changed_fields() & {"device", "rack", "start_u"}:
            return
        if not self.is_complete() or self.invalid_fields:
            return  # the empty or invalid field has an error of its own
        self.refuse_if_locked()
        self.refuse_second_position()
        raise_placement_errors(find_violations([self]), FIELDS)

    def is_complete(self) -> bool:
        return hasattr(self, "device") and hasattr(self, "rack") and isinstance(self.start_u, int)

    def refuse_if_locked(self) -> None:
        stored: dict[str, Any] = self.stored_values()
        if stored.get("locked") and self.locked:
            raise ValidationError({"start_u": locked_message(self.device, stored["start_u"])})

    def refuse_second_position(self) -> None:
        if self.device._state.adding:
            return
        other = RackPosition.objects.filter(device_id=self.device.pk).exclude(pk=self.pk).select_related("rack").first()
        if other is not None:
            message = f"{self.device} is in {other.rack} at U{other.start_u} already."
            raise ValidationError({"device": message})

    def lock_rows(self) -> None:
        lock(apps.get_model("inventory", "Device").objects.filter(pk=self.device_id))
        lock(apps.get_model("inventory", "Rack").objects.filter(pk=self.rack_id))


def locked_message(device: object, start_u: int) -> str:
    return f"{device} is locked at U{start_u}. Unlock it, save, and then move it."


def with_sizes(positions: models.QuerySet[RackPosition]) -> models.QuerySet[RackPosition]:
    """`positions` with everything that determines the sizes of their devices, in one query."""
    return positions.select_related("rack", "device__model__brand", "device__model__device_type")


def changed_dimensions(row: ValidatedModel, fields: Mapping[Dimension, str]) -> set[Dimension]:
    """The dimensions whose field in `fields` has changed; none for a new row, which no position refers to."""
    changed = row.changed_fields() if row.pk is not None else frozenset()
    return {dimension for dimension, field in fields.items() if field in changed}


def validate_placements(model: Any, fields: Mapping[Dimension, str]) -> None:
    """Raise ValidationError if devices no longer fit into their racks with the changed size of their `model`.

    Violations that existed before the change are accepted, so that rows of a legacy file can be corrected one after
    the other.
    """
    dimensions = changed_dimensions(model, fields)
    if not dimensions:
        return
    affected = list(with_sizes(RackPosition.objects.filter(device__model=model)))
    before = find_violations(affected)
    for position in affected:
        position.device.model = model
    resized = {position.pk: position for position in affected}
    after = find_violations(affected, dimensions=dimensions, replacements=resized)
    raise_placement_errors([error for error in after if error not in before], fields)


def raise_placement_errors(errors: Iterable[PlacementError], fields: Mapping[Dimension, str]) -> None:
    """Raise ValidationError with one message for each field; nothing when there are no errors."""
    messages: dict[str, dict[str, None]] = {}
    for error in errors:
        messages.setdefault(fields[error.dimension], {})[error.message] = None
    if messages:
        raise ValidationError({field: summarize([*texts]) for field, texts in messages.items()})


def summarize(messages: Sequence[str]) -> str:
    """The first message, and how many there are: one change of a size may be wrong for dozens of devices."""
    more = len(messages) - 1
    return f"{messages[0]} {more} more device{'s do' if more > 1 else ' does'} not fit." if more else messages[0]


def find_violations(
    positions: Collection[RackPosition],
    *,
    dimensions: Collection[Dimension] = frozenset(Dimension),
    replacements: Mapping[int, RackPosition] | None = None,
    pairs_once: bool = False,
) -> list[PlacementError]:
    """The rules that `positions` break, each compared with the other stored positions of its rack.

    `replacements` holds unsaved versions of positions, by primary key, which count instead of the stored ones.
    With `pairs_once` an overlap of two devices is reported once, for the one with the higher key.
    """
    found: list[PlacementError] = []
    neighbours = neighbours_of(positions)
    for position in positions:
        others = [
            (replacements or {}).get(other.pk, other).placement
            for other in neighbours.get(position.rack_id, [])
            if (other.pk < position.pk if pairs_once else other.pk != position.pk)
        ]
        errors = find_placement_errors(position.placement, position.rack.space, others)
        found += [error for error in errors if error.dimension in dimensions]
    return found


def neighbours_of(positions: Collection[RackPosition]) -> dict[int, list[RackPosition]]:
    """All positions of the racks of `positions`, by rack, in one query."""
    racks = {position.rack_id for position in positions if position.rack_id}
    by_rack: dict[int, list[RackPosition]] = {}
    for position in with_sizes(RackPosition.objects.filter(rack__in=racks)) if racks else ():
        by_rack.setdefault(position.rack_id, []).append(position)
    return by_rack
