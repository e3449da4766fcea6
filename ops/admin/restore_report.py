"""The reports of a run's restore tests on paper: read from the signed documents next to the backups."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from ops.admin.base import IndexAdmin
from ops.backups.event_files import REPORTS
from ops.backups.reports import Check, ReadReport, read_report
from ops.backups.signing import Trust
from ops.errors import OpsError
from ops.models import Run
from ops.runs.context import repository_from_settings
from ops.runs.results import VerificationResult, read_result
from ops.utils.formatting import format_duration, format_size, format_timespan, pluralize
from ops.utils.progress import Stage

STAGES: Mapping[str, str] = {
    Stage.LIST: "List the location",
    Stage.LOAD: "Download, decrypt and load",
    Stage.COMPARE: "Compare with the manifest",
    Stage.MIGRATE: "Apply migrations",
}


@dataclass(frozen=True, kw_only=True)
class Page:
    """One report as the template shows it, or why it cannot be read."""

    name: str
    read: ReadReport | None = None
    refusal: str = ""

    @property
    def is_signed(self) -> bool:
        return self.read is not None and self.read.trust is Trust.SIGNED

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What was tested."""
        if self.read is None:
            return []
        report = self.read.report
        test = report.test
        taken = f"{report.taken_at:%Y-%m-%d %H:%M:%S} UTC" if report.taken_at else "unknown"
        return [
            ("Database", report.installation),
            ("Backup", test.backup),
            ("Backup id", report.backup_id),
            ("Taken", taken),
            ("Size", f"{format_size(report.size)} ({report.size:,} bytes)"),
            ("Contents", f"{pluralize(report.rows, 'row')} in {pluralize(report.tables, 'table')}"),
            ("SHA-256", report.sha256 or ""),
            ("Copy read from", test.where),
            ("Opened with the key", test.key or "none: this copy is not encrypted"),
            ("Tested", f"{test.began_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("Requested by", report.requested_by),
            ("Run", report.run),
            ("Version", report.app_version),
        ]

    @property
    def loss(self) -> str:
        age = self.read.report.test.recovery_point_age if self.read else None
        return "unknown" if age is None else format_timespan(dt.timedelta(seconds=age))

    @property
    def duration(self) -> str:
        return format_duration(self.read.report.test.recovery_time) if self.read else ""

    @property
    def stages(self) -> list[tuple[str, str]]:
        """Each stage and its seconds."""
        if self.read is None:
            return []
        test = self.read.report.test
        lines = [(STAGES.get(stage, stage), f"{seconds:.3f}") for stage, seconds in test.seconds.items()]
        return [*lines, ("Together", f"{test.recovery_time:.3f}")]

    @property
    def checks(self) -> list[tuple[Check, str]]:
        """Each check, and how many were compared."""
        found = self.read.report.test.checks if self.read else ()
        return [(check, pluralize(check.number, check.unit)) for check in found]


def show_reports(admin: IndexAdmin[Run], request: HttpRequest, key: UUID) -> HttpResponse:
    """A page to print. Raises Http404 for a run without restore tests."""
    run = admin.get_row(request, str(key))
    result = read_result(run.kind, run.result)
    names = [test.report for test in result.tests if test.report] if isinstance(result, VerificationResult) else []
    if not names:
        raise Http404("This run has no report.")
    repository = repository_from_settings()
    pages = []
    for name in names:
        try:
            pages.append(Page(name=name, read=read_report(repository, name)))
        except FileNotFoundError:
            pages.append(Page(name=name, refusal="The document is missing."))
        except OpsError as error:
            pages.append(Page(name=name, refusal=error.message))
    return render(
        request,
        "ops/restore_test_report.html",
        {"pages": pages, "folder": f"{repository.location}/{REPORTS}", "run": run},
    )
