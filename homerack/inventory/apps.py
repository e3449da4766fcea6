from django.apps import AppConfig


class InventoryConfig(AppConfig):
    name = "homerack.inventory"
    verbose_name = "Inventory"
