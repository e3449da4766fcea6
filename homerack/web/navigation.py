"""The console's side bar: what is in it, and who sees it."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse_lazy


def viewers_of(permission: str) -> Callable[[HttpRequest], bool]:
    """Shows an entry to those who may view what it leads to (or change it, which includes viewing)."""
    app, model = permission.split(".")

    def is_visible(request: HttpRequest) -> bool:
        return any(request.user.has_perm(f"{app}.{verb}_{model}") for verb in ("view", "change"))

    return is_visible


def entry(title: str, icon: str, permission: str) -> dict[str, Any]:
    """One line: `icon` is a Material Symbol, `permission` is ``app.model``."""
    link = reverse_lazy(f"admin:{permission.replace('.', '_')}_changelist")
    return {"title": title, "icon": icon, "link": link, "permission": viewers_of(permission)}


SECTIONS: list[dict[str, Any]] = [
    {
        "title": "Lab",
        "separator": True,
        "items": [
            entry("Racks", "dns", "inventory.rack"),
            entry("Devices", "devices_other", "inventory.device"),
            entry("Cables", "cable", "inventory.cable"),
        ],
    },
    {
        "title": "Catalogue",
        "separator": True,
        "items": [
            entry("Device types", "category", "inventory.devicetype"),
            entry("Brands", "factory", "inventory.brand"),
            entry("Models", "view_list", "inventory.devicemodel"),
            entry("Specifications", "straighten", "inventory.devicespecification"),
        ],
    },
    {
        "title": "Database",
        "separator": True,
        "items": [
            entry("Backups", "backup", "ops.backup"),
            entry("Runs", "history", "ops.run"),
            entry("Schedules", "schedule", "django_celery_beat.periodictask"),
            {
                "title": "Notifications",
                "icon": "notifications",
                "link": reverse_lazy("ops-notifications"),
                "permission": lambda request: request.user.is_superuser,
            },
        ],
    },
    {
        "title": "People",
        "separator": True,
        "items": [
            entry("Users", "person", "accounts.user"),
            entry("Groups", "group", "auth.group"),
            entry("Access attempts", "lock", "axes.accessattempt"),
        ],
    },
    {
        "title": "Connections",
        "separator": True,
        "items": [entry("DCIM connections", "hub", "inventory.dcimconnection")],
    },
]
