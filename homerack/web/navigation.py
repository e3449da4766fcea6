"""The sidebar of the admin: its entries, and the permissions that show them."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse, reverse_lazy


def viewers_of(model: str) -> Callable[[HttpRequest], bool]:
    """A callback that shows an entry to users who may view or change the model that it leads to."""
    app, name = model.split(".")

    def is_visible(request: HttpRequest) -> bool:
        return any(request.user.has_perm(f"{app}.{verb}_{name}") for verb in ("view", "change"))

    return is_visible


def may_view_history(request: HttpRequest) -> bool:
    """Of any model."""
    # Forms can be imported once all models are.
    from homerack.history.admin.access import viewable_models  # noqa: PLC0415

    return bool(viewable_models(request))


def may_export(request: HttpRequest) -> bool:
    """Whether the page that exports and imports has something for the user."""
    return any(viewers_of(model)(request) for model in EXPORTED)


def is_page_of_backups(request: HttpRequest) -> bool:
    """Not of pages below the list of backups that have an entry of their own."""
    path, backups = request.path, reverse("admin:ops_backup_changelist")
    return path.startswith(backups) and not any(word in path for word in ("recovery-kit", "notifications", "settings"))


def is_page_of_runs(request: HttpRequest) -> bool:
    """Not of schedules, whose page is below the list of runs."""
    return request.path.startswith(reverse("admin:ops_run_changelist")) and "/schedules/" not in request.path


def entry(title: str, icon: str, model: str) -> dict[str, Any]:
    """The link to the list of a model: `icon` is a Material Symbol, `model` is ``app.model``."""
    link = reverse_lazy(f"admin:{model.replace('.', '_')}_changelist")
    return {"title": title, "icon": icon, "link": link, "permission": viewers_of(model)}


EXPORTED = (
    *(f"inventory.{name}" for name in ("rack", "device", "cable", "devicemodel", "brand", "devicetype")),
    "accounts.user",
)

SECTIONS: list[dict[str, Any]] = [
    {
        "title": "Lab",
        "separator": True,
        "items": [
            entry("Racks", "dns", "inventory.rack"),
            entry("Devices", "devices_other", "inventory.device"),
            entry("Cables", "cable", "inventory.cable"),
            {
                "title": "History",
                "icon": "manage_history",
                "link": reverse_lazy("admin:history_changeset_changelist"),
                "permission": may_view_history,
            },
            {
                "title": "Import and export",
                "icon": "swap_vert",
                "link": reverse_lazy("admin:spreadsheets"),
                "permission": may_export,
            },
        ],
    },
    {
        "title": "Catalogue",
        "separator": True,
        "items": [
            entry("Device types", "category", "inventory.devicetype"),
            entry("Brands", "factory", "inventory.brand"),
            entry("Models", "view_list", "inventory.devicemodel"),
        ],
    },
    {
        "title": "Database",
        "separator": True,
        "items": [
            {**entry("Backups", "backup", "ops.backup"), "active": is_page_of_backups},
            {**entry("Runs", "history", "ops.run"), "active": is_page_of_runs},
            {**entry("Schedules", "schedule", "ops.run"), "link": reverse_lazy("admin:ops_schedules")},
            {
                "title": "Recovery kits",
                "icon": "key",
                "link": reverse_lazy("admin:ops_backup_recovery_kits"),
                "permission": lambda request: request.user.is_superuser,
            },
            {
                "title": "Notifications",
                "icon": "notifications",
                "link": reverse_lazy("admin:ops_notifications"),
                "permission": lambda request: request.user.is_superuser,
            },
            {
                "title": "Settings",
                "icon": "settings",
                "link": reverse_lazy("admin:ops_settings"),
                "permission": lambda request: request.user.is_superuser,
            },
        ],
    },
    {
        "title": "Accounts",
        "separator": True,
        "items": [
            entry("Users", "person", "accounts.user"),
            entry("Groups", "group", "auth.group"),
            entry("Access attempts", "lock", "axes.accessattempt"),
        ],
    },
]
