"""Runs and backups, as the admin shows them.

Rows of both tables are an index: the truth is in the storage of the backups, as one JSON file for the start and one for
the end of each run, and a manifest next to each backup. `ops.runs.index` rebuilds the rows from there, for example
after a restore. So there are no foreign keys between them and no constraint that a row could break.
"""

import uuid
from typing import Self

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone


class Run(models.Model):
    """One operation: who asked for it, how far it is, how it ended. Its pid is one of `host`; times are UTC."""

    class Kind(models.TextChoices):
        BACKUP = "backup", "backup"
        VERIFICATION = "verification", "verification"
        RESTORE_TEST = "restore_test", "restore test"
        RESTORE = "restore", "restore"
        UNDO = "undo", "undo of a restore"
        DROP_PREVIOUS = "drop_previous", "removal of the previous database"
        PRUNE = "prune", "pruning of backups"
        UPLOAD = "upload", "upload of a backup"
        DOWNLOAD = "download", "download of a backup"
        CHANGE = "change", "change of a backup's pin or note"
        DELETION = "deletion", "deletion of a backup"
        PREFLIGHT = "preflight", "preflight check of the migration to PostgreSQL"
        MIGRATION = "migration", "migration to PostgreSQL"

    class Status(models.TextChoices):
        QUEUED = "queued", "queued"
        RUNNING = "running", "running"
        SUCCEEDED = "succeeded", "succeeded"
        FAILED = "failed", "failed"
        INTERRUPTED = "interrupted", "interrupted"
        CANCELLED = "cancelled", "cancelled"

    class Origin(models.TextChoices):
        COMMAND = "command", "command"
        ADMIN = "admin", "admin"
        SCHEDULE = "schedule", "schedule"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(choices=Kind.choices)
    status = models.CharField(choices=Status.choices, default=Status.QUEUED)
    database = models.CharField(blank=True, help_text="Its name; runs on others may be recorded in the same storage.")
    requested_by = models.CharField(help_text="An e-mail address, or who runs the command on which machine.")
    origin = models.CharField(choices=Origin.choices, default=Origin.COMMAND)
    backup = models.CharField(blank=True, help_text="The name of the backup it made or worked on.")
    arguments = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    requested_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    stage = models.CharField(blank=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0, help_text="0 when it is not known beforehand.")
    stages = models.JSONField(default=list, blank=True, help_text="A list of stage, began and seconds.")
    host = models.CharField(blank=True)
    pid = models.BigIntegerField(null=True, blank=True)
    result = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    error = models.TextField(blank=True)
    hint = models.TextField(blank=True)
    log = models.TextField(blank=True)
    applied = models.BooleanField(
        default=False,
        help_text="Written into the new database only, before it takes the place of the old: who reads it there knows"
        " that it did.",
    )
    cancel_requested = models.BooleanField(default=False)

    recovered: tuple[str, ...] = ()
    """What killed runs had left, in sentences; the executor sets it on the run that it starts. It has no column."""

    class Meta:
        default_permissions = ("view",)
        ordering = ("-requested_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["kind"], condition=models.Q(status="queued"), name="ops_run_one_queued_of_a_kind"
            ),
        )
        indexes = (
            models.Index(fields=["-requested_at"], name="ops_run_requested"),
            models.Index(fields=["kind", "-requested_at"], name="ops_run_kind_requested"),
            models.Index(fields=["status", "-requested_at"], name="ops_run_status_requested"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} by {self.requested_by}"

    @property
    def is_finished(self) -> bool:
        return self.status not in {self.Status.QUEUED, self.Status.RUNNING}


class BackupQuerySet(models.QuerySet["Backup"]):
    """Backups, the newest first."""

    def with_state(self) -> Self:
        """Each with its `state`: the first of `STATE_RULES` that holds, or unverified."""
        rules = (models.When(rule, then=models.Value(state)) for state, rule in STATE_RULES.items())
        otherwise = models.Value(Backup.State.UNVERIFIED)
        return self.annotate(state=models.Case(*rules, default=otherwise, output_field=models.CharField()))

    def verified(self) -> Self:
        """Those that a restore can rely on: made here, in place, and their last verification passed."""
        return self.with_state().filter(IS_VERIFIED)

    def last_verified_name(self) -> str:
        """The name of the backup that may not be deleted; empty where none is verified."""
        return self.verified().order_by("-taken_at").values_list("name", flat=True).first() or ""


class Backup(models.Model):
    """One backup as its manifest in the storage describes it; sizes are bytes, times are UTC."""

    class State(models.TextChoices):
        """What a backup is worth. `BackupQuerySet.with_state` finds it."""

        FILE_MISSING = "file_missing", "file missing"
        TAMPERED = "tampered", "tampered with"
        FAILED = "failed", "failed"
        UNTRUSTED = "untrusted", "untrusted"
        FOREIGN = "foreign", "not signed here"
        RESTORE_TESTED = "restore_tested", "restore tested"
        VERIFIED = "verified", "verified"
        UNVERIFIED = "unverified", "unverified"

    id = models.UUIDField(primary_key=True, editable=False)
    name = models.CharField(unique=True)
    kind = models.CharField()
    origin = models.CharField()
    engine = models.CharField()
    database = models.CharField()
    created_by = models.CharField()
    taken_at = models.DateTimeField(help_text="The moment that it shows.")
    size = models.BigIntegerField()
    uncompressed_size = models.BigIntegerField(help_text="Before compression.")
    rows = models.BigIntegerField()
    duration = models.FloatField()
    note = models.TextField(blank=True)
    pinned = models.BooleanField(default=False)
    verified_level = models.CharField(blank=True)
    verified_at = models.DateTimeField(null=True, blank=True)
    verification_seconds = models.FloatField(null=True, blank=True)
    verification_error = models.TextField(blank=True)
    trust = models.CharField()
    file_missing = models.BooleanField(default=False, help_text="The manifest is there, its data file is not.")
    retained_until = models.DateTimeField(null=True, blank=True)
    retention_reason = models.CharField(blank=True)
    run = models.CharField(blank=True, help_text="The id of the run that made it.")
    manifest = models.JSONField(default=dict)

    state: str
    """A `State`, on rows of `BackupQuerySet.with_state` alone: it has no column."""

    objects = BackupQuerySet.as_manager()

    class Meta:
        default_permissions = ("view", "delete")
        permissions = (
            ("make_backup", "Can make a backup"),
            ("verify_backup", "Can verify a backup"),
            ("pin_backup", "Can pin a backup so that it is never pruned"),
            ("restore_backup", "Can restore a backup"),
        )
        ordering = ("-taken_at",)
        indexes = (
            models.Index(fields=["-taken_at"], name="ops_backup_taken"),
            models.Index(fields=["origin", "-taken_at"], name="ops_backup_origin_taken"),
            models.Index(fields=["verified_level", "-taken_at"], name="ops_backup_verified_taken"),
        )

    def __str__(self) -> str:
        return self.name


STATE_RULES = {
    Backup.State.FILE_MISSING: models.Q(file_missing=True),
    Backup.State.TAMPERED: models.Q(trust="tampered"),
    Backup.State.FAILED: ~models.Q(verification_error=""),
    Backup.State.UNTRUSTED: models.Q(origin="upload"),
    Backup.State.FOREIGN: ~models.Q(trust="signed"),
    Backup.State.RESTORE_TESTED: models.Q(verified_level="restored"),
    Backup.State.VERIFIED: models.Q(verified_level="read"),
}
"""In the order of their weight: the first that holds counts."""
IS_VERIFIED = models.Q(state__in=(Backup.State.RESTORE_TESTED, Backup.State.VERIFIED))
"""For rows with their state; `BackupRecord.verified` is the same for a manifest."""
