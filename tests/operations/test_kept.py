"""Until when backups are kept, after restores and undos: the console says what the dry run of pruning says."""

import json

from tests.operations.harness import Lab, sqlite_first

SHOWN = """
import io, json
from django.conf import settings
from django.core.management import call_command
from ops.admin.kept import describe_kept
from ops.models import Backup
from ops.runs.context import get_context
settings.BACKUP_RETENTION_DAYS = 0
print(json.dumps(describe_kept(Backup.objects.values_list("name", flat=True), get_context)))
call_command("prune_backups", "--dry-run", "--json")
"""


def shown(lab: Lab) -> dict[str, str]:
    """What the console says about each backup, after it was compared with the dry run. Backups are old at once."""
    console, _, dry = lab.run("shell", "--no-imports", "-c", SHOWN).out.partition("\n")
    texts: dict[str, str] = json.loads(console)
    preview = json.loads(dry)
    kept = {name: reason.removeprefix("kept ") for name, reason in preview["kept"].items()}
    deleted = {name: f"until the next pruning: {reason}" for name, reason in preview["deleted"].items()}
    assert texts == kept | deleted
    return texts


@sqlite_first
def test_console_and_dry_run_agree_after_restore_undo_and_drop(lab: Lab) -> None:
    first = lab.back_up()
    assert shown(lab) == {first: "as the last verified backup"}
    lab.run("restore_database", first, "--yes")
    (before,) = set(lab.listed()) - {first}
    assert shown(lab) == {first: "until the next pruning: older than 0 days", before: "because an undo needs it"}
    lab.run("undo_restore", "--yes")
    after_undo = shown(lab)
    assert set(after_undo) == {first, before}
    lab.run("undo_restore", "--yes")
    shown(lab)
    lab.run("drop_previous_database", "--yes")
    assert shown(lab)[before] == "as the last verified backup"
