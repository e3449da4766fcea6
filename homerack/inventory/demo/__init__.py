"""The demo lab: example data for a new installation."""

from collections import Counter
from collections.abc import Mapping

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet

from homerack.history.change_sets import change_set
from homerack.history.entry_points import EntryPoint
from homerack.inventory.demo import rows
from homerack.inventory.demo.catalogue import MODELS
from homerack.inventory.demo.lab import DEVICES, RACKS
from homerack.inventory.models import (
    Brand,
    Cable,
    Device,
    DeviceModel,
    DeviceType,
    Rack,
)


def is_empty() -> bool:
    """Whether there are neither users nor an inventory. With users, the inventory may be empty on purpose."""
    if get_user_model().objects.exists():
        return False
    tables = (DeviceType, Brand, DeviceModel, Device, Rack, Cable)
    return not any(table.objects.exists() for table in tables)


@change_set(EntryPoint.DEMO)
@transaction.atomic
def load_demo() -> Mapping[str, int]:
    """Add the missing rows of the demo lab, and change no existing ones. Returns the number of added rows by kind."""
    added: Counter[str] = Counter()
    models = load_models(added, load_types(added), load_brands(added))
    load_devices(added, models, load_racks(added))
    load_cables(added)
    return added


def load_types(added: Counter[str]) -> dict[str, DeviceType]:
    """The types by slug."""
    types = DeviceType.objects.in_bulk(field_name="slug")
    for kind in rows.types():
        if kind.slug not in types:
            kind.save()
            types[kind.slug] = kind
            added["device types"] += 1
    return types


def load_brands(added: Counter[str]) -> dict[str, Brand]:
    """The brands by slug."""
    brands = Brand.objects.in_bulk(field_name="slug")
    for brand in rows.brands():
        if brand.slug not in brands:
            brand.save()
            brands[brand.slug] = brand
            added["brands"] += 1
    return brands


def load_models(
    added: Counter[str], types: Mapping[str, DeviceType], brands: Mapping[str, Brand]
) -> dict[rows.ModelKey, DeviceModel]:
    """The models by the slug of their brand, name and variant."""
    existing = DeviceModel.objects.filter(brand__slug__in={model[0] for model in MODELS}).select_related("brand")
    models = {rows.key_of_model(model): model for model in existing}
    for model in rows.models(types, brands):
        if rows.key_of_model(model) not in models:
            model.save()
            models[rows.key_of_model(model)] = model
            added["models"] += 1
    return models


def load_racks(added: Counter[str]) -> dict[str, Rack]:
    """The racks by name, the oldest of each."""
    racks = {rack.name: rack for rack in Rack.objects.filter(name__in=[rack[0] for rack in RACKS]).order_by("-pk")}
    for rack in rows.racks():
        if rack.name not in racks:
            rack.save()
            racks[rack.name] = rack
            added["racks"] += 1
    return racks


def load_devices(added: Counter[str], models: Mapping[rows.ModelKey, DeviceModel], racks: Mapping[str, Rack]) -> None:
    existing = {device.custom_name for device in devices_of_demo()}
    missing = [device for device in rows.devices(models) if device.custom_name not in existing]
    for device in missing:
        device.save()
        added["devices"] += 1
    for position in rows.positions({device.custom_name: device for device in missing}, racks):
        position.save()


def load_cables(added: Counter[str]) -> None:
    """Those whose two ports are free."""
    devices = {device.custom_name: device for device in devices_of_demo()}
    for cable in rows.cables(devices):
        ends = ((cable.from_device, cable.from_port), (cable.to_device, cable.to_port))
        if not any(cable.find_at(device, port) for device, port in ends):
            cable.save()
            added["cables"] += 1


def devices_of_demo() -> QuerySet[Device]:
    """Newest first: by name, the oldest of each stays in a dictionary."""
    return Device.objects.filter(custom_name__in=[device[0] for device in DEVICES]).order_by("-pk")


def describe(numbers: Mapping[str, int]) -> str:
    """``9 device types, 12 brands``; empty for no rows."""
    return ", ".join(f"{number} {kind}" for kind, number in numbers.items() if number)
