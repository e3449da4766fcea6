"""Which tables a user may export and import."""

from typing import Any

from homerack.inventory.spreadsheets.tables import TABLES, Table


def permission(verb: str, table: Table) -> str:
    options = table.model._meta
    return f"{options.app_label}.{verb}_{options.model_name}"


def exportable(user: Any) -> list[Table]:
    """Those whose rows the user may view, in the order of an import."""
    return [
        table for table in TABLES.values() if any(user.has_perm(permission(verb, table)) for verb in ("view", "change"))
    ]


def importable(user: Any) -> list[Table]:
    """Those whose rows the user may both add and change."""
    return [
        table for table in TABLES.values() if user.has_perms([permission(verb, table) for verb in ("add", "change")])
    ]
