"""What to do in an inventory that is still empty, in three steps."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connection
from django.urls import reverse

from homerack.inventory.demo.catalogue import BRANDS
from homerack.inventory.imports.device_types.planning import NEEDED
from homerack.inventory.models import Brand, Device, Rack, RackPosition

IMPORTS = ("inventory.add_device", "inventory.change_device")


@dataclass(frozen=True, kw_only=True)
class Step:
    """`url` leads to where it is done; it is empty for users who may not, and before other steps are done.

    `import_url` leads to the import of models, `spreadsheets_url` to that of spreadsheets, for users who may import.
    """

    title: str
    text: str
    label: str
    url: str
    is_done: bool
    import_url: str = ""
    spreadsheets_url: str = ""


class Inventory(NamedTuple):
    """What there is: `device` is the key of the newest device, and `has_demo` whether there may be a demo lab."""

    is_placed: bool
    has_rack: bool
    device: int | None
    has_demo: bool


def first_steps(user: Any, inventory: Inventory | None = None) -> list[Step]:
    """The steps, for users who may do one of them; none after the last one is done."""
    may = {name: user.has_perm(f"inventory.add_{name}") for name in ("rack", "device", "rackposition")}
    if not any(may.values()):
        return []
    is_placed, has_rack, device, _ = inventory or read_inventory()
    if is_placed:
        return []
    may_import = user.has_perms(NEEDED)
    may_place = has_rack and may["rackposition"] and user.has_perm("inventory.change_device")
    return [
        Step(
            title="Add a rack",
            text="Its name and its height. A cabinet or a shelf with units is a rack, too.",
            label="Add a rack",
            url=reverse("admin:inventory_rack_add") if may["rack"] else "",
            is_done=has_rack,
        ),
        Step(
            title="Add a device",
            text="Type its brand and its model; HomeRack adds them to the catalogue."
            + may_import * " Or import the models of your brands from NetBox's public library first.",
            label="Add a device",
            url=reverse("admin:inventory_device_add") if may["device"] else "",
            is_done=device is not None,
            import_url=reverse("admin:inventory_devicemodel_import") if may_import else "",
            spreadsheets_url=reverse("admin:spreadsheets") if user.has_perms(IMPORTS) else "",
        ),
        Step(
            title="Place it in the rack",
            text="Choose the rack and the lowest unit of the device, in its form or on its page.",
            label="Place a device",
            url=reverse("admin:inventory_device_change", args=(device,)) if device and may_place else "",
            is_done=False,
        ),
    ]


def read_inventory() -> Inventory:
    """One query, however large the inventory is."""
    positions, racks, devices, brands = (model._meta.db_table for model in (RackPosition, Rack, Device, Brand))
    slugs = [brand[1] for brand in BRANDS]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT EXISTS (SELECT 1 FROM {positions}), EXISTS (SELECT 1 FROM {racks}),"  # noqa: S608
            f" (SELECT MAX(id) FROM {devices}),"
            f" EXISTS (SELECT 1 FROM {brands} WHERE slug IN ({', '.join(['%s'] * len(slugs))}))",
            slugs,
        )
        is_placed, has_rack, device, has_demo = cursor.fetchone()
    return Inventory(bool(is_placed), bool(has_rack), device, bool(has_demo))
