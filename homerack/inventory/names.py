"""Names: numbered ones of devices, what tells two devices of one name apart, and short names of the catalogue."""

import re
from collections.abc import Container, Iterable
from itertools import chain, count
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.utils.text import slugify

from homerack.inventory.models import Device, RackPosition
from homerack.ordering import Alphabetical, alphabetical_key

NUMBER = re.compile(r"(.*?)([0-9]{1,9})", re.DOTALL)
"""A name and the number at its end. Longer numbers are the names of something else."""
WIDTH = 2
"""Digits of numbers that are added to a name without one."""
NOT_MOUNTED = "not in a rack"


def numbered_names(first: str, number: int) -> list[str]:
    """`number` names: ``node-01`` and those that follow. After ``node`` they begin behind the last ``node-…`` there is.

    The numbers have as many digits as the first one, or more if they need more.
    """
    if number == 1:
        return [first]
    prefix, start, width = first_number(first)
    return [f"{prefix}{start + offset:0{width}}" for offset in range(number)]


def first_number(name: str) -> tuple[str, int, int]:
    """The text before the number of `name`, the number, and its digits."""
    if found := NUMBER.fullmatch(name):
        return found[1], int(found[2]), len(found[2])
    prefix = f"{name}-"
    return prefix, last_number(prefix, default=0) + 1, WIDTH


def next_name(name: str) -> str:
    """The name of a copy: behind the last one of its numbering. The copy of ``nas`` is ``nas-02``."""
    found = NUMBER.fullmatch(name)
    prefix, own, width = (found[1], int(found[2]), len(found[2])) if found else (f"{name}-", 1, WIDTH)
    return f"{prefix}{last_number(prefix, default=own) + 1:0{width}}"


def last_number(prefix: str, *, default: int) -> int:
    """The highest number of the devices that are named `prefix` and a number; at least `default`."""
    names = Device.objects.filter(custom_name__startswith=prefix).order_by().values_list("custom_name", flat=True)
    numbers = (NUMBER.fullmatch(name) for name in names.iterator())
    return max((int(found[2]) for found in numbers if found and found[1] == prefix), default=default)


def with_place(devices: QuerySet[Device]) -> QuerySet[Device]:
    """`devices` with ``rack_name`` and ``rack_unit``; None for those that are not in a rack."""
    positions = RackPosition.objects.filter(device=OuterRef("pk")).order_by("pk")
    return devices.annotate(
        rack_name=Subquery(positions.values("rack__name")[:1]), rack_unit=Subquery(positions.values("start_u")[:1])
    )


def place_of(device: Device) -> str:
    """``Main rack, U5``, or an empty string. `device` is from `with_place`, or its positions were read with it."""
    if hasattr(device, "rack_name"):
        return f"{device.rack_name}, U{getattr(device, 'rack_unit', '?')}" if device.rack_name else ""
    position = next(iter(device.positions.all()), None)
    return f"{position.rack}, U{position.start_u}" if position else ""


def label_of(device: Device) -> str:
    """The name and the place, which lists of devices to choose from show."""
    return f"{device} ({place_of(device) or NOT_MOUNTED})"


def same_names(names: Iterable[str]) -> list[list[Device]]:
    """The devices of each of `names` that several devices have. Upper and lower case are the same."""
    keys = {key_of(name) for name in names}
    found: dict[str, list[Device]] = {}
    devices = Device.objects.annotate(key=Alphabetical("custom_name")).filter(key__in=keys)
    for device in with_place(devices):
        found.setdefault(key_of(device.custom_name), []).append(device)
    return [group for group in found.values() if len(group) > 1]


def key_of(name: str) -> str:
    """What `Alphabetical` makes of it in a database."""
    return alphabetical_key(name).decode()


def others_of_the_name() -> QuerySet[Device]:
    """For `Exists` in a query of devices: the other devices of the same name. It uses the index of their order."""
    named = Device.objects.order_by().annotate(key=Alphabetical("custom_name"))
    return named.filter(key=Alphabetical(OuterRef("custom_name"))).exclude(pk=OuterRef("pk"))


def free_slug(kind: type[Any], name: str, taken: Container[str]) -> str:
    """A short name for `name` that is not `taken`. Names in other scripts than the Latin one have none of their own."""
    limit: int = kind._meta.get_field("slug").max_length
    base = slugify(name) or str(kind._meta.model_name)
    endings = chain([""], (f"-{number}" for number in count(2)))
    slugs = (base[: limit - len(ending)] + ending for ending in endings)
    return next(slug for slug in slugs if slug not in taken)
