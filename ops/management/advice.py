"""What a user should decide: on suspicious backups, and on how long backups are kept."""

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape

from ops.backups.record import BackupRecord
from ops.backups.retention import recommend
from ops.backups.suspicion import Verdict
from ops.runs.context import OpsContext
from ops.runs.descriptions import describe_suspicion
from ops.utils import clock


def show_suspicion(console: Console, records: Iterable[BackupRecord]) -> None:
    """What the first suspicious backup that is undecided has lost."""
    undecided = [
        record.manifest for record in records if record.manifest and record.manifest.verdict is Verdict.UNDECIDED
    ]
    for first in undecided[-1:]:
        if first.suspicion:
            console.print(f"\n[bold red]{escape(first.name)}[/bold red]", soft_wrap=True)
            for sentence in describe_suspicion(first.name, first.suspicion):
                console.print(f"  {sentence}", soft_wrap=True, markup=False)


def show_advice(console: Console, context: OpsContext, records: Iterable[BackupRecord]) -> None:
    """What it would cost to keep weekly and monthly backups, where none are kept."""
    records = list(records)
    newest = next((record.manifest.size for record in records if record.good and record.manifest), 0)
    used = sum(record.manifest.size for record in records if record.manifest)
    if advice := recommend(context.policy, now=clock.now(), used=used, newest=newest):
        console.print(f"\n{advice}", soft_wrap=True, markup=False)
