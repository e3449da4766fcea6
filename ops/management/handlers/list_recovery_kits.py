"""What ``manage.py list_recovery_kits`` does: the kits, and which encrypted backups each opens."""

from typing import Any

from rich.console import Console
from rich.table import Table

from ops.backups.recovery_kit import RecoveryKit, opened_by
from ops.health.recovery import read_concerns, read_kits, recipients_by_backup
from ops.utils.formatting import format_local, time_zone_name
from ops.utils.schema import to_json


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:  # noqa: ARG001  # the same for all
    kits, backups, concerns = read_kits(), recipients_by_backup(), read_concerns()
    if kits:
        console.print(table_of(kits, backups))
        console.print(f"Times are in the {time_zone_name()} time zone.")
    else:
        console.print("There is no recovery kit. Make one: manage.py create_recovery_kit")
    for concern in concerns:
        console.print(f"{concern.text} {concern.hint}", style="yellow", markup=False, soft_wrap=True)
    documents = [{**to_json(kit), "opens": opened_by(kit.recipient, backups)} for kit in kits]
    return {"recovery_kits": documents, "concerns": [to_json(concern) for concern in concerns]}, 0


def table_of(kits: tuple[RecoveryKit, ...], backups: dict[str, tuple[str, ...]]) -> Table:
    table = Table("Kit", "Made", "Last proof", "Opens", "State", box=None, header_style="bold")
    for kit in kits:
        proven = f"{format_local(kit.proven_at)} by {kit.proven_by}" if kit.proven_at else "never"
        state = f"withdrawn {format_local(kit.withdrawn_at)}" if kit.withdrawn_at else "current"
        opens = f"{len(opened_by(kit.recipient, backups))} of {len(backups)}"
        table.add_row(kit.name, f"{format_local(kit.created_at)} by {kit.created_by}", proven, opens, state)
    return table
