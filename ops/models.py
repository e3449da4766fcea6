"""What the console shows of runs and backups.

Rows of both tables are an index: the truth is in the storage of the backups, as one JSON file for the start and one for
the end of each run, and a manifest beside each backup. `ops.runs.event_log` writes the rows anew from
there, after a restore has rolled them back for instance. Hence there are no foreign keys between them and no rule that
a row could break.
"""

import uuid

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone


class Run(models.Model):
    """One operation: who asked for it, how far it is, how it ended. Its pid is one of `host`; times are UTC."""

    class Kind(models.TextChoices):
        BACKUP = "backup", "backup"
        VERIFICATION = "verification", "verification"
        DRILL = "drill", "restore drill"
        RESTORE = "restore", "restore"
        UNDO = "undo", "undo of a restore"
        DROP_UNDO = "drop undo", "removal of the undo copy"
        PRUNE = "prune", "pruning of backups"
        SYNC = "sync", "reading of the catalogue"
        UPLOAD = "upload", "upload of a backup"
        DOWNLOAD = "download", "download of a backup"
        CHANGE = "change", "change of a backup's note"
        DELETION = "deletion", "deletion of a backup"
        PREFLIGHT = "preflight", "preflight of the move to PostgreSQL"
        MIGRATION = "migration", "move to PostgreSQL"

    class Status(models.TextChoices):
        QUEUED = "queued", "queued"
        RUNNING = "running", "running"
        SUCCEEDED = "succeeded", "succeeded"
        FAILED = "failed", "failed"
        INTERRUPTED = "interrupted", "interrupted"
        CANCELLED = "cancelled", "cancelled"

    class Origin(models.TextChoices):
        COMMAND = "command", "command"
        CONSOLE = "console", "console"
        SCHEDULE = "schedule", "schedule"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(choices=Kind.choices)
    status = models.CharField(choices=Status.choices, default=Status.QUEUED)
    database = models.CharField(blank=True, help_text="Its name; runs on others may be recorded in the same storage.")
    who = models.CharField(help_text="An e-mail address, or who runs the command on which machine.")
    origin = models.CharField(choices=Origin.choices, default=Origin.COMMAND)
    backup = models.CharField(blank=True, help_text="The name of the backup it made or worked on.")
    arguments = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    asked = models.DateTimeField(default=timezone.now)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)
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
    in_place = models.BooleanField(
        default=False,
        help_text="Written into the new database only, before it takes the place of the old: who reads it there knows"
        " that it did.",
    )
    cancel_requested = models.BooleanField(default=False)

    class Meta:
        default_permissions = ("view",)
        ordering = ("-asked",)
        constraints = (
            models.UniqueConstraint(
                fields=["kind"], condition=models.Q(status="queued"), name="ops_run_one_queued_of_a_kind"
            ),
        )
        indexes = (
            models.Index(fields=["-asked"], name="ops_run_asked"),
            models.Index(fields=["kind", "-asked"], name="ops_run_kind_asked"),
            models.Index(fields=["status", "-asked"], name="ops_run_status_asked"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} by {self.who}"

    @property
    def is_over(self) -> bool:
        return self.status not in {self.Status.QUEUED, self.Status.RUNNING}


class Backup(models.Model):
    """One backup as its manifest in the storage describes it; sizes are bytes, times are UTC."""

    id = models.UUIDField(primary_key=True, editable=False)
    name = models.CharField(unique=True)
    kind = models.CharField()
    origin = models.CharField()
    engine = models.CharField()
    database = models.CharField()
    who = models.CharField()
    when = models.DateTimeField(help_text="The moment that it shows.")
    size = models.BigIntegerField()
    plain_size = models.BigIntegerField(help_text="Before compression.")
    rows = models.BigIntegerField()
    seconds = models.FloatField()
    note = models.TextField(blank=True)
    keep = models.BooleanField(default=False)
    proof_level = models.CharField(blank=True)
    proof_when = models.DateTimeField(null=True, blank=True)
    proof_seconds = models.FloatField(null=True, blank=True)
    proof_fault = models.TextField(blank=True)
    trust = models.CharField()
    missing = models.BooleanField(default=False, help_text="The manifest is there, its data file is not.")
    kept_until = models.DateTimeField(null=True, blank=True)
    kept_because = models.CharField(blank=True)
    run = models.CharField(blank=True, help_text="The id of the run that made it.")
    manifest = models.JSONField(default=dict)

    class Meta:
        default_permissions = ("view", "delete")
        permissions = (
            ("make_backup", "Can make a backup"),
            ("verify_backup", "Can verify a backup"),
            ("keep_backup", "Can keep a backup from being pruned"),
            ("restore_backup", "Can restore a backup"),
        )
        ordering = ("-when",)
        indexes = (
            models.Index(fields=["-when"], name="ops_backup_when"),
            models.Index(fields=["origin", "-when"], name="ops_backup_origin_when"),
            models.Index(fields=["proof_level", "-when"], name="ops_backup_proof_when"),
        )

    def __str__(self) -> str:
        return self.name
