"""The rows of the demo lab, unsaved: what `load_demo` adds, and what `remove_demo` recognises.

Each function takes the rows that its own refer to, by their keys, and leaves out what refers to none of them.
"""

from collections.abc import Iterator, Mapping

from homerack.inventory.demo.catalogue import BRANDS, MODELS, TYPES
from homerack.inventory.demo.lab import CABLES, DEVICES, RACKS
from homerack.inventory.models import Brand, Cable, Device, DeviceModel, DeviceType, Rack, RackPosition

ModelKey = tuple[str, str, str | None]
"""The slug of a brand, and the name and variant of one of its models."""
BTU_PER_WATT = 3.412
FIRST_SERIAL = 204_117


def types() -> Iterator[DeviceType]:
    for name, slug, color, description in TYPES:
        yield DeviceType(name=name, slug=slug, color=color, description=description)


def brands() -> Iterator[Brand]:
    for name, slug, website, description in BRANDS:
        yield Brand(name=name, slug=slug, website=website, description=description)


def models(types: Mapping[str, DeviceType], brands: Mapping[str, Brand]) -> Iterator[DeviceModel]:
    """`types` and `brands` by slug."""
    for brand, kind, name, variant, height, width, depth, weight, watts, airflow, ports in MODELS:
        if brand in brands and kind in types:
            yield DeviceModel(
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


def racks() -> Iterator[Rack]:
    for name, location, height, depth, weight, watts in RACKS:
        yield Rack(
            name=name,
            location=location,
            total_height_u=height,
            depth_mm=depth,
            max_weight_kg=weight,
            max_power_watts=watts,
        )


def devices(models: Mapping[ModelKey, DeviceModel]) -> Iterator[Device]:
    for number, (name, model, _, _, _, frequency, notes) in enumerate(DEVICES):
        if model in models:
            yield Device(
                custom_name=name,
                model=models[model],
                serial_number=f"{model[0][:2].upper()}{FIRST_SERIAL + number * 373}",
                access_frequency=frequency,
                notes=notes,
            )


def positions(devices: Mapping[str, Device], racks: Mapping[str, Rack]) -> Iterator[RackPosition]:
    """`devices` and `racks` by name."""
    for name, _, rack, start_u, locked, _, _ in DEVICES:
        if name in devices and rack is not None and rack in racks and start_u is not None:
            yield RackPosition(device=devices[name], rack=racks[rack], start_u=start_u, locked=locked)


def cables(devices: Mapping[str, Device]) -> Iterator[Cable]:
    """`devices` by name."""
    for from_name, from_port, to_name, to_port, kind, length, routing in CABLES:
        if from_name in devices and to_name in devices:
            yield Cable(
                from_device=devices[from_name],
                from_port=from_port,
                to_device=devices[to_name],
                to_port=to_port,
                cable_type=kind,
                calculated_length_m=length,
                routing_path=routing,
            )


def key_of_model(model: DeviceModel) -> ModelKey:
    return (model.brand.slug, model.name, model.variant)
