"""Removes the demo lab: what `load_demo` has written, and what nobody has changed or uses since.

A row is the demo's if all its values are those that `load_demo` writes. It stays if it was changed, or if a row that
stays refers to it: the rack in which there is a device of the user, the model that such a device has.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import models, transaction

from homerack.history.change_sets import change_set
from homerack.history.entry_points import EntryPoint
from homerack.inventory.demo import rows
from homerack.inventory.demo.catalogue import BRANDS, MODELS, TYPES
from homerack.inventory.demo.lab import DEVICES, RACKS
from homerack.inventory.models import Brand, Cable, Device, DeviceModel, DeviceType, Rack, RackPosition
from homerack.inventory.models.base import lock
from homerack.ordering import Alphabetical

RowT = TypeVar("RowT", bound=models.Model)

KINDS: tuple[type[models.Model], ...] = (Cable, RackPosition, Device, Rack, DeviceModel, Brand, DeviceType)
"""In the order of their deletion: each refers to later ones only."""


class DemoChanged(Exception):
    """Another user has changed the demo lab while it was removed. Nothing was removed."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A row of the demo lab that stays. `reason` is ``changed`` or ``used by …``."""

    kind: str
    name: str
    reason: str


@dataclass(kw_only=True)
class Removal:
    """The keys of the rows to delete, by model, and the rows of the demo lab that stay."""

    keys: dict[type[models.Model], set[int]] = field(default_factory=lambda: {kind: set() for kind in KINDS})
    kept: list[Kept] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to delete."""
        return any(self.keys.values())

    @property
    def numbers(self) -> dict[str, int]:
        """Rows to delete by kind, in the order in which `load_demo` names them."""
        named = (kind for kind in reversed(KINDS) if kind is not RackPosition)
        return {noun(kind, len(self.keys[kind])): len(self.keys[kind]) for kind in named}


def noun(kind: type[models.Model], number: int) -> str:
    return str(kind._meta.verbose_name if number == 1 else kind._meta.verbose_name_plural)


def may_remove(user: Any) -> bool:
    """Whether the user may delete rows of all kinds that the demo lab has."""
    return all(user.has_perm(f"inventory.delete_{kind._meta.model_name}") for kind in KINDS)


@change_set(EntryPoint.DEMO)
@transaction.atomic
def remove_demo() -> Removal:
    """Delete the rows of the demo lab that were not changed and are not used. Raises DemoChanged."""
    lock(Device.objects.filter(pk__in=devices_of_demo().values("pk")))
    lock(Rack.objects.filter(name__in=[rack[0] for rack in RACKS]))
    removal = find_removal()
    for kind in KINDS:
        delete(kind._default_manager.filter(pk__in=removal.keys[kind]), len(removal.keys[kind]))
    return removal


def delete(found: models.QuerySet[Any], number: int) -> None:
    """Raises DemoChanged if these are not `number` rows, or others refer to them by now."""
    try:
        deleted, _ = found.delete()
    except models.ProtectedError as error:
        raise DemoChanged from error
    if deleted != number:
        raise DemoChanged


def find_removal() -> Removal:
    """What `remove_demo` would do now."""
    removal = Removal()
    types = recognise(removal, DeviceType.objects.filter(slug__in=[kind[1] for kind in TYPES]), rows.types(), by_slug)
    brands = recognise(removal, Brand.objects.filter(slug__in=[brand[1] for brand in BRANDS]), rows.brands(), by_slug)
    stored = DeviceModel.objects.filter(brand__slug__in={model[0] for model in MODELS}).select_related("brand")
    models = recognise(removal, stored, rows.models(types, brands), rows.key_of_model)
    racks = recognise(removal, Rack.objects.filter(name__in=[rack[0] for rack in RACKS]), rows.racks(), str)
    devices = recognise(removal, devices_of_demo(), rows.devices(models), str)
    placed = RackPosition.objects.filter(device__in=devices.values()).select_related("device", "rack")
    recognise(removal, placed, rows.positions(devices, racks), lambda position: position.device_id)
    cables = Cable.objects.filter(from_device__in=devices.values()).select_related("from_device", "to_device")
    recognise(removal, cables, rows.cables(devices), lambda cable: (cable.from_device_id, cable.from_port))
    keep_used(removal)
    return removal


def by_slug(row: Any) -> str:
    return str(row.slug)


def devices_of_demo() -> models.QuerySet[Device]:
    """Those with a name of the demo lab, by the index of their order."""
    names = {device[0].lower() for device in DEVICES}
    return Device.objects.annotate(key=Alphabetical("custom_name")).filter(key__in=names)


def recognise(removal: Removal, stored: models.QuerySet[RowT], demo: Iterable[RowT], key: Any) -> dict[Any, RowT]:
    """The stored row for each of `demo` that has its key: the one that equals it, or else the oldest.

    Those that equal it are to be deleted; the others are kept, because the user has changed them.
    """
    by_key: dict[Any, list[RowT]] = {}
    for row in stored.order_by("pk"):
        by_key.setdefault(key(row), []).append(row)
    found = {}
    for row in demo:
        candidates = by_key.get(key(row), [])
        same = [candidate for candidate in candidates if values_of(candidate) == values_of(row)]
        if same:
            removal.keys[type(row)].add(same[0].pk)
        elif candidates:
            keep(removal, candidates[0], "changed")
        if candidates:
            found[key(row)] = (same or candidates)[0]
    return found


def values_of(row: models.Model) -> dict[str, Any]:
    """What users can change of a row. A form stores an empty text where there was none."""
    fields = (field for field in row._meta.concrete_fields if field.editable and not field.primary_key)
    values = {field.attname: getattr(row, field.attname) for field in fields}
    return {name: None if value == "" else value for name, value in values.items()}


def keep(removal: Removal, row: models.Model, reason: str) -> None:
    if not isinstance(row, RackPosition | Cable):  # named by their devices
        removal.kept.append(Kept(kind=str(row._meta.verbose_name), name=str(row), reason=reason))


def keep_used(removal: Removal) -> None:
    """Take out what rows that stay refer to; positions stay with their device, and cables with both of theirs."""
    keep_used_of(removal, Device)
    gone = removal.keys[Device]
    positions = RackPosition.objects.filter(pk__in=removal.keys[RackPosition], device__in=gone)
    cables = Cable.objects.filter(pk__in=removal.keys[Cable])
    cables = cables.filter(models.Q(from_device__in=gone) | models.Q(to_device__in=gone))
    removal.keys[RackPosition] = set(positions.values_list("pk", flat=True))
    removal.keys[Cable] = set(cables.values_list("pk", flat=True))
    for kind in (Rack, DeviceModel, Brand, DeviceType):
        keep_used_of(removal, kind)


def keep_used_of(removal: Removal, kind: type[models.Model]) -> None:
    users = users_of(kind, removal.keys)
    for row in kind._default_manager.filter(pk__in=users.keys()):
        removal.keys[kind].discard(row.pk)
        keep(removal, row, f"used by {users[row.pk]}")


def users_of(kind: type[models.Model], keys: Mapping[type[models.Model], Collection[int]]) -> dict[int, str]:
    """For each row of `kind` in `keys` that rows outside of `keys` refer to: the name of one of these."""
    found: dict[int, str] = {}
    for relation in kind._meta.related_objects:
        other: Any = relation.related_model
        name = relation.field.name
        users = other._default_manager.filter(**{f"{name}__in": keys[kind]})
        for user in users.exclude(pk__in=keys.get(other, ())).order_by("pk"):
            found.setdefault(getattr(user, relation.field.attname), str(user))
    return found
