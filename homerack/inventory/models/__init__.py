"""The inventory. Tables and columns have the names of HomeRack 1.0.1."""

from homerack.inventory.models.cabling import Cable
from homerack.inventory.models.catalogue import Brand, DeviceModel, DeviceType
from homerack.inventory.models.devices import Device
from homerack.inventory.models.positions import RackPosition
from homerack.inventory.models.racks import Rack

__all__ = [
    "Brand",
    "Cable",
    "Device",
    "DeviceModel",
    "DeviceType",
    "Rack",
    "RackPosition",
]
