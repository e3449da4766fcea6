"""The inventory in the console. Importing this package registers all of it."""

from homerack.inventory.admin import cables, catalogue, dcim, devices, racks

__all__ = ["cables", "catalogue", "dcim", "devices", "racks"]
