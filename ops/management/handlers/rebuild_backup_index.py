"""What ``manage.py rebuild_backup_index`` does: calls `ops.runs.executor.rebuild_index`."""

from typing import Any

from rich.console import Console
from rich.markup import escape

from ops.management import output
from ops.management.execution import show_recovered
from ops.models import Backup, Run
from ops.runs import executor
from ops.runs.context import get_context
from ops.utils.formatting import pluralize


def handle(console: Console, _options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    context = get_context()
    recovered = executor.rebuild_index(context)
    show_recovered(console, recovered)
    backups, runs = Backup.objects.count(), Run.objects.count()
    indexed = f"{pluralize(backups, 'backup')} and {pluralize(runs, 'run')}"
    console.print(f"Indexed {indexed} from {escape(context.repository.location)}.", soft_wrap=True)
    output.show_unknown_keys(console, context.repository.records())
    return {"recovered": list(recovered), "backups": backups, "runs": runs}, 0
