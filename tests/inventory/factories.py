"""Rows for tests, with plausible defaults."""

import itertools
from typing import Any

from homerack.inventory.models import Brand, Cable, Device, DeviceModel, DeviceType, Rack, RackPosition

numbers = itertools.count(1)


def make_type(slug: str = "server", **fields: Any) -> DeviceType:
    return DeviceType.objects.get_or_create(slug=slug, defaults={"name": slug.title(), "color": "#2563EB", **fields})[0]


def make_model(**fields: Any) -> DeviceModel:
    brand, _ = Brand.objects.get_or_create(slug="acme", defaults={"name": "Acme"})
    values = {"name": f"Model {next(numbers)}", "height_u": 1, "brand": brand, **fields}
    return DeviceModel.objects.create(**{"device_type": make_type(), **values})


def make_device(name: str = "", **hardware: Any) -> Device:
    """A device with a model of its own that has these properties."""
    return Device.objects.create(custom_name=name or f"device-{next(numbers)}", model=make_model(**hardware))


def make_rack(name: str = "Main", **fields: Any) -> Rack:
    return Rack.objects.create(name=name, **fields)


def place(device: Device, rack: Rack, start_u: int = 1, **fields: Any) -> RackPosition:
    return RackPosition.objects.create(device=device, rack=rack, start_u=start_u, **fields)


def connect(one: Device, other: Device, **fields: Any) -> Cable:
    return Cable.objects.create(from_device=one, to_device=other, **fields)
