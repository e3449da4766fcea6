"""What ``manage.py list_backups`` does: reads the manifests in the storage; the database may be down."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape

from ops import operations
from ops.backups.locations.coverage import Coverage, find_coverage, known_backups
from ops.backups.record import BackupRecord
from ops.conf import conf
from ops.health.backups import max_age
from ops.health.copies import read_locations
from ops.management import advice, output
from ops.runs.context import get_context
from ops.utils import clock


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    context = get_context(directory=options["backup_dir"])
    records = context.repository.records()
    decisions = {decision.name: decision for decision in operations.evaluate_retention(context, records)}
    previous = context.engine.previous_database()
    if records:
        others = context.repository.others
        output.show_records(console, records, decisions, with_locations=bool(others))
        advice.show_suspicion(console, records)
        output.show_unknown_keys(console, records)
        if others:
            output.show_coverage(console, coverage_of(records))
        advice.show_advice(console, context, records)
    else:
        console.print(f"There is no backup in {escape(context.repository.location)} yet.", soft_wrap=True)
        console.print("Make one: manage.py backup_database")
    output.show_previous(console, previous, days=context.previous_days)
    return output.records_as_json(records, decisions, previous), 0


def coverage_of(records: Iterable[BackupRecord]) -> Coverage:
    """The copies of the newest verified backup, without the database."""
    return find_coverage(
        read_locations(), known_backups(records), min_copies=conf.BACKUP_MIN_COPIES, now=clock.now(), max_age=max_age()
    )
