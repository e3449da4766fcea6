"""Decide on a suspicious backup: what it has lost, and whether that is right."""

from dataclasses import dataclass
from typing import Self
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from ops import operations
from ops.admin.base import IndexAdmin, new_run, require, show_error
from ops.admin.return_to import return_path
from ops.backups.manifest import Manifest
from ops.backups.suspicion import Decision, Suspicion, Verdict
from ops.errors import ArtifactInvalid, OpsError
from ops.models import Backup, Run
from ops.runs.authorization import may_start
from ops.runs.context import get_context
from ops.runs.descriptions import describe
from ops.utils.formatting import format_local


@dataclass(frozen=True, kw_only=True)
class SuspicionPresenter:
    """What templates show of a suspicious `backup`. `last_good` is the newest good one before it."""

    backup: Backup
    suspicion: Suspicion
    last_good: Backup | None

    @classmethod
    def of(cls, backup: Backup) -> Self | None:
        """None for a backup that was never suspicious, or whose manifest cannot be read."""
        try:
            suspicion = Manifest.from_json(backup.manifest).suspicion if backup.suspicion else None
        except ArtifactInvalid:
            return None
        if suspicion is None:
            return None
        before = Backup.objects.good().filter(
            engine=backup.engine, database=backup.database, taken_at__lt=backup.taken_at
        )
        last_good = before.order_by("-taken_at").defer("manifest").first()
        return cls(backup=backup, suspicion=suspicion, last_good=last_good)

    @property
    def losses(self) -> list[str]:
        return self.suspicion.describe()

    @property
    def is_undecided(self) -> bool:
        return self.suspicion.verdict is Verdict.UNDECIDED

    @property
    def is_wrong(self) -> bool:
        return self.suspicion.verdict is Verdict.WRONG

    @property
    def decided(self) -> str:
        """What was decided, by whom and when."""
        decision = self.suspicion.decision
        return describe_decision(decision) if decision else ""


def describe_decision(decision: Decision) -> str:
    word = "right" if decision.right else "wrong"
    return f"{decision.decided_by} decided on {format_local(decision.decided_at)} that it is {word}."


def first_undecided() -> SuspicionPresenter | None:
    """The oldest suspicious backup that is not decided on."""
    first = Backup.objects.filter(suspicion=Verdict.UNDECIDED, trust="signed").order_by("taken_at").first()
    return SuspicionPresenter.of(first) if first else None


def decide(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponse:
    require(request, "ops.pin_backup")
    backup = admin.get_row(request, str(key))
    shown = SuspicionPresenter.of(backup)
    if shown is None:
        raise Http404(f"{backup.name} is not suspicious.")
    back = return_path(request, reverse("admin:ops_backup_change", args=[backup.pk]))
    if request.method != "POST":
        return admin.render(
            request,
            "ops/admin/decide.html",
            title="Is this right?",
            shown=shown,
            back=back,
            may_restore=may_start(request.user, Run.Kind.RESTORE),
        )
    run = new_run(request, Run.Kind.DECISION, name=backup.name, right=request.POST.get("set") == "right")
    try:
        result = operations.decide_backup(get_context(), run)
    except OpsError as error:
        show_error(request, error)
    else:
        messages.success(request, describe(result)[0])
    return HttpResponseRedirect(back)
