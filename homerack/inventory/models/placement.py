"""The rules about places in racks, where they meet the database."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models

from homerack.inventory.fit import Dimension, PlacementError, find_misfits

if TYPE_CHECKING:
    from homerack.inventory.models.catalogue import Hardware
    from homerack.inventory.models.racks import RackPosition


def with_sizes(positions: models.QuerySet["RackPosition"]) -> models.QuerySet["RackPosition"]:
    """`positions` with all that says how large their devices are, in one query."""
    return positions.select_related(
        "rack", "device__model__brand", "device__model__device_type", "device__specification"
    )


def refuse(misfits: Iterable[PlacementError], fields: dict[Dimension, str]) -> None:
    """Raise ValidationError with the messages of `misfits` at the form field of each."""
    errors: dict[str, list[str]] = {}
    for misfit in misfits:
        errors.setdefault(fields[misfit.aspect], []).append(misfit.message)
    if errors:
        raise ValidationError({field: list(dict.fromkeys(messages)) for field, messages in errors.items()})


def validate_placements(hardware: "Hardware", *, height: str, width: str, depth: str) -> None:
    """Refuse a new size of `hardware` with which a device of that kind no longer fits where it is.

    What was amiss before may stay: those who put it right need not do so in one go.
    """
    changed = hardware.changed()
    aspects = {Dimension.WIDTH} if width in changed else set()
    aspects |= {Dimension.DEPTH} if depth in changed else set()
    aspects |= {Dimension.HEIGHT, Dimension.OVERLAP} if height in changed else set()
    if hardware.pk is None or not aspects:
        return
    positions: type[RackPosition] = apps.get_model("inventory", "RackPosition")
    column = "model" if hardware._meta.db_table == "models" else "specification"
    affected = list(with_sizes(positions.objects.filter(**{f"device__{column}": hardware})))
    before = find_violations(affected)
    for position in affected:
        setattr(position.device, column, hardware)
    fields = {Dimension.HEIGHT: height, Dimension.OVERLAP: height, Dimension.WIDTH: width, Dimension.DEPTH: depth}
    resized = {position.pk: position for position in affected}
    refuse(
        [misfit for misfit in find_violations(affected, aspects=aspects, instead=resized) if misfit not in before],
        fields,
    )


def find_violations(
    positions: Collection["RackPosition"],
    *,
    aspects: Collection[Dimension] = frozenset(Dimension),
    instead: dict[int, "RackPosition"] | None = None,
    pairs_once: bool = False,
) -> list[PlacementError]:
    """What is wrong about `positions`, each seen beside the stored others of its rack.

    `instead` holds unsaved versions of positions, by primary key, that are meant in place of the stored ones.
    `pairs_once` says of two devices at one place that the second overlaps the first, and not the reverse as well.
    """
    found: list[PlacementError] = []
    neighbours = neighbours_of(positions)
    for position in positions:
        others = [
            (instead or {}).get(other.pk, other).place
            for other in neighbours.get(position.rack_id, [])
            if (other.pk < position.pk if pairs_once else other.pk != position.pk)
        ]
        misfits = find_misfits(position.place, position.rack.space, others)
        found += [misfit for misfit in misfits if misfit.aspect in aspects]
    return found


def neighbours_of(positions: Collection["RackPosition"]) -> dict[int, list["RackPosition"]]:
    """All positions of the racks of `positions`, by rack, in one query."""
    racks = {position.rack_id for position in positions if position.rack_id}
    model: type[RackPosition] = apps.get_model("inventory", "RackPosition")
    by_rack: dict[int, list[RackPosition]] = {}
    for position in with_sizes(model.objects.filter(rack__in=racks)) if racks else ():
        by_rack.setdefault(position.rack_id, []).append(position)
    return by_rack
