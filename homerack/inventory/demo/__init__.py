"""The demo lab: example data for a new installation."""

from collections import Counter
from collections.abc import Mapping

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet

from homerack.inventory.demo.catalogue import BRANDS, MODELS, TYPES
from homerack.inventory.demo.lab import CABLES, DEVICES, RACKS
from homerack.inventory.models import (
    Brand,
    Cable,
    Device,
    DeviceModel,
    DeviceType,
    Rack,
    RackPosition,
)

ModelKey = tuple[str, str, str | None]
"""The slug of a brand, and the name and variant of one of its models."""
BTU_PER_WATT = 3.412
FIRST_SERIAL = 204_117


def is_empty() -> bool:
    """Whether there are neither users nor an inventory. With users, the inventory may be empty on purpose."""
    if get_user_model().objects.exists():
        return False
    tables = (DeviceType, Brand, DeviceModel, Device, Rack, Cable)
    return not any(table.objects.exists() for table in tables)


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
    for name, slug, color, description in TYPES:
        if slug not in types:
            types[slug] = DeviceType.objects.create(name=name, slug=slug, color=color, description=description)
            added["device types"] += 1
    return types


def load_brands(added: Counter[str]) -> dict[str, Brand]:
    """The brands by slug."""
    brands = Brand.objects.in_bulk(field_name="slug")
    for name, slug, website, description in BRANDS:
        if slug not in brands:
            brands[slug] = Brand.objects.create(name=name, slug=slug, website=website, description=description)
            added["brands"] += 1
    return brands


def load_models(
    added: Counter[str], types: Mapping[str, DeviceType], brands: Mapping[str, Brand]
) -> dict[ModelKey, DeviceModel]:
    """The models by the slug of their brand, name and variant."""
    existing = DeviceModel.objects.filter(brand__slug__in={model[0] for model in MODELS}).select_related("brand")
    models = {(model.brand.slug, model.name, model.variant): model for model in existing}
    for brand, kind, name, variant, height, width, depth, weight, watts, airflow, ports in MODELS:
        if (brand, name, variant) in models:
            continue
        models[brand, name, variant] = DeviceModel.objects.create(
            brand=brands[brand],
            name=name,
            variant=variant,
            device_type=types[kind],
            height_u=height,
            width_type=width,
            depth_mm=depth,
            weight_kg=weight,
            power_watts=watts,
            heat_output_btu=round(watts * BTU_PER_WATT, 1),
            airflow_pattern=airflow,
            typical_ports=ports,
        )
        added["models"] += 1
    return models


def load_racks(added: Counter[str]) -> dict[str, Rack]:
    """The racks by name, the oldest of each."""
    racks = {rack.name: rack for rack in Rack.objects.filter(name__in=[rack[0] for rack in RACKS]).order_by("-pk")}
    for name, location, height, depth, weight, watts in RACKS:
        if name not in racks:
            racks[name] = Rack.objects.create(
                name=name,
                location=location,
                total_height_u=height,
                depth_mm=depth,
                max_weight_kg=weight,
                max_power_watts=watts,
            )
            added["racks"] += 1
    return racks


def load_devices(added: Counter[str], models: Mapping[ModelKey, DeviceModel], racks: Mapping[str, Rack]) -> None:
    existing = {device.custom_name for device in devices_of_demo()}
    for number, (name, model, rack, start_u, locked, frequency, notes) in enumerate(DEVICES):
        if name in existing:
            continue
        device = Device.objects.create(
            custom_name=name,
            model=models[model],
            serial_number=f"{model[0][:2].upper()}{FIRST_SERIAL + number * 373}",
            access_frequency=frequency,
            notes=notes,
        )
        added["devices"] += 1
        if rack is not None and start_u is not None:
            RackPosition.objects.create(device=device, rack=racks[rack], start_u=start_u, locked=locked)


def load_cables(added: Counter[str]) -> None:
    """Those whose two ports are free."""
    devices = {device.custom_name: device for device in devices_of_demo()}
    for from_name, from_port, to_name, to_port, kind, length, routing in CABLES:
        cable = Cable(
            from_device=devices[from_name],
            from_port=from_port,
            to_device=devices[to_name],
            to_port=to_port,
            cable_type=kind,
            calculated_length_m=length,
            routing_path=routing,
        )
        if not cable.find_at(cable.from_device, from_port) and not cable.find_at(cable.to_device, to_port):
            cable.save()
            added["cables"] += 1


def devices_of_demo() -> QuerySet[Device]:
    """Newest first: by name, the oldest of each stays in a dictionary."""
    return Device.objects.filter(custom_name__in=[device[0] for device in DEVICES]).order_by("-pk")
