"""The admin of the inventory. Importing this package registers all admin classes."""

from homerack.inventory.admin import cables, catalogue, dcim, devices, racks

__all__ = ["cables", "catalogue", "dcim", "devices", "racks"]
