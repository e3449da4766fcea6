"""What ``manage.py check_database`` does: shows the report of ``/health/`` with all details."""

import sys
from typing import IO, Any, cast

from django.core.management.base import BaseCommand
from django.db import OperationalError
from rich.markup import escape
from rich.table import Table

from ops.health.database import wait_for_database
from ops.health.report import check_health
from ops.health.results import HealthReport, Status
from ops.management.progress import PrintableConsole
from ops.utils.printable import json_text

DEADLINE = 10.0
"""Seconds for all checks, longer than the health endpoint has: on a busy machine a process that has just started may
need more than that."""
EXIT_CODES = {Status.HEALTHY: 0, Status.UNHEALTHY: 1, Status.DEGRADED: 3, Status.MAINTENANCE: 4}
COLOURS = {
    Status.HEALTHY: "green",
    Status.DEGRADED: "yellow",
    Status.MAINTENANCE: "magenta",
    Status.UNHEALTHY: "red",
}


def handle(command: BaseCommand, *, json: bool, database: str, wait: float, **_options: Any) -> None:
    if wait > 0:
        wait_until_reached(command, database, wait)
    report = check_health(database, within=DEADLINE, with_sequences=True)
    if json:
        command.stdout.write(json_text(report.as_dict(details=True)))
    else:
        PrintableConsole(cast("IO[str]", command.stdout)).print(as_table(report))
    sys.exit(EXIT_CODES[report.status])


def wait_until_reached(command: BaseCommand, alias: str, seconds: float) -> None:
    try:
        wait_for_database(alias, seconds=seconds)
    except OperationalError as error:
        command.stderr.write(f"The database {alias!r} could not be reached: {type(error).__name__}.")


def as_table(report: HealthReport) -> Table:
    table = Table(title=f"Database: {coloured(report.status)}", show_header=False, title_justify="left")
    table.add_row("Type", escape(report.database_type))
    table.add_row("Query", "no answer" if report.query_time_ms is None else f"{report.query_time_ms:.3f} ms")
    if report.pool_info:
        numbers = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in report.pool_info.items())
        table.add_row(f"Pool of {report.pool_scope}", numbers)
    for name, check in report.checks.items():
        label = escape(name.replace("_", " ").capitalize())
        table.add_row(label, f"{coloured(check.status)} {escape(check.detail)}".rstrip())
    return table


def coloured(status: Status) -> str:
    return f"[{COLOURS[status]}]{status}[/]"
