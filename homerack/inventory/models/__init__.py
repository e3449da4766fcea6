"""The inventory: tables and columns are those of legacy HomeRack files, so that a row moves over as it is."""

from homerack.inventory.models.cabling import Cable
from homerack.inventory.models.catalogue import Brand, DeviceModel, DeviceSpecification, DeviceType
from homerack.inventory.models.dcim import DcimConnection
from homerack.inventory.models.devices import Device
from homerack.inventory.models.racks import Rack, RackPosition

__all__ = [
    "Brand",
    "Cable",
    "DcimConnection",
    "Device",
    "DeviceModel",
    "DeviceSpecification",
    "DeviceType",
    "Rack",
    "RackPosition",
]
