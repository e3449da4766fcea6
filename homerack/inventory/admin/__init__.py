"""The admin of the inventory. Importing this package registers all admin classes."""

import django_stubs_ext

# Makes `ModelAdmin[Rack]` legal at run time.
django_stubs_ext.monkeypatch()

from homerack.inventory.admin import cables, catalogue, devices, racks  # noqa: E402

__all__ = ["cables", "catalogue", "devices", "racks"]
