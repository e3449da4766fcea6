"""The demo lab: example data for a new installation."""

from collections import Counter
from collections.abc import Mapping

from django.contrib.auth import get_user_model
from django.db import transaction

from homerack.inventory.demo.catalogue import BRANDS, MODELS, TYPES
from homerack.inventory.demo.lab import CABLES, DEVICES, RACKS
from homerack.inventory.models import (
    Brand,
    Cable,
    Device,
    DeviceModel,
    DeviceSpecification,
    DeviceType,
    Rack,
    RackPosition,
)
from homerack.inventory.models.choices import Confidence

BTU_PER_WATT = 3.412
FIRST_SERIAL = 204_117


def is_empty() -> bool:
    """Whether there are neither users nor an inventory. With users, the inventory may be empty on purpose."""
    if get_user_model().objects.exists():
        return False
    tables = (DeviceType, Brand, DeviceModel, DeviceSpecification, Device, Rack, Cable)
    return not any(table.objects.exists() for table in tables)


@transaction.atomic
def load_demo() -> Mapping[str, int]:
    """Add the missing rows of the demo lab, and change no existing ones. Returns the number of added rows by kind."""
    added: Counter[str] = Counter()
    load_types(added)
    load_brands(added)
    load_models(added)
    load_racks(added)
    load_devices(added)
    load_cables(added)
    return added


def load_types(added: Counter[str]) -> None:
    for name, slug, icon, color, description in TYPES:
        details = {"name": name, "icon": icon, "color": color, "description": description}
        _, is_new = DeviceType.objects.get_or_create(slug=slug, defaults=details)
        added["device types"] += is_new


def load_brands(added: Counter[str]) -> None:
    for name, slug, website, founded, headquarters in BRANDS:
        details = {"name": name, "website": website, "founded_year": founded, "headquarters": headquarters}
        _, is_new = Brand.objects.get_or_create(slug=slug, defaults=details)
        added["brands"] += is_new


def load_models(added: Counter[str]) -> None:
    for brand, kind, name, variant, height, width, depth, weight, watts, airflow, ports in MODELS:
        details = {
            "device_type": DeviceType.objects.get(slug=kind),
            "height_u": height,
            "width_type": width,
            "depth_mm": depth,
            "weight_kg": weight,
            "power_watts": watts,
            "heat_output_btu": round(watts * BTU_PER_WATT, 1),
            "airflow_pattern": airflow,
            "typical_ports": ports,
            "source": "demo",
            "confidence": Confidence.HIGH,
        }
        _, is_new = DeviceModel.objects.get_or_create(
            brand=Brand.objects.get(slug=brand), name=name, variant=variant, defaults=details
        )
        added["models"] += is_new


def load_racks(added: Counter[str]) -> None:
    for name, location, height, depth, weight, watts in RACKS:
        if not Rack.objects.filter(name=name).exists():
            Rack.objects.create(
                name=name,
                location=location,
                total_height_u=height,
                depth_mm=depth,
                max_weight_kg=weight,
                max_power_watts=watts,
            )
            added["racks"] += 1


def load_devices(added: Counter[str]) -> None:
    for number, (name, (brand, model, variant), rack, start_u, locked, frequency, notes) in enumerate(DEVICES):
        if Device.objects.filter(custom_name=name).exists():
            continue
        known = DeviceModel.objects.get(brand__slug=brand, name=model, variant=variant)
        device = Device.objects.create(
            custom_name=name,
            model=known,
            serial_number=f"{brand[:2].upper()}{FIRST_SERIAL + number * 373}",
            access_frequency=frequency,
            notes=notes,
        )
        added["devices"] += 1
        if rack is not None and start_u is not None:
            target = Rack.objects.filter(name=rack).earliest("pk")
            RackPosition.objects.create(device=device, rack=target, start_u=start_u, locked=locked)


def load_cables(added: Counter[str]) -> None:
    devices = {device.custom_name: device for device in Device.objects.order_by("-pk")}
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
