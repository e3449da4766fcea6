"""Runs and backups, as the admin shows them.

Both tables are an index of the files in the backup storage: the events of each run, and the manifest of each backup.
`ops.runs.index` rebuilds the rows from those files, for example after a restore. So there are no foreign keys between
the tables, and no constraint that a file could violate.
"""

import uuid
from typing import Any, Self

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from ops.utils.clock import MomentField


class Run(models.Model):
    """One execution of an operation: who requested it, its progress, its outcome. `pid` is on `host`; times are UTC."""

    class Kind(models.TextChoices):
        BACKUP = "backup", "backup"
        VERIFICATION = "verification", "verification"
        RESTORE_TEST = "restore_test", "restore test"
        RESTORE = "restore", "restore"
        UNDO = "undo", "undo of a restore"
        DROP_PREVIOUS = "drop_previous", "drop of the previous database"
        COPY = "copy", "copying of backups"
        PRUNE = "prune", "backup pruning"
        UPLOAD = "upload", "backup upload"
        DOWNLOAD = "download", "backup download"
        CHANGE = "change", "change of a backup's pin or note"
        DECISION = "decision", "decision on a suspicious backup"
        DELETION = "deletion", "backup deletion"
        PREFLIGHT = "preflight", "migration preflight"
        MIGRATION = "migration", "migration to PostgreSQL"
        MIGRATION_TO_SQLITE = "migration_to_sqlite", "migration to SQLite"
        SQLITE_DOWNLOAD = "sqlite_download", "download of the SQLite file"
        SQLITE_DELETION = "sqlite_deletion", "deletion of the SQLite file"
        RECOVERY_KIT = "recovery_kit", "creation of a recovery kit"
        KIT_PROOF = "kit_proof", "proof of a recovery kit"
        KIT_WITHDRAWAL = "kit_withdrawal", "withdrawal of a recovery kit"
        SETTINGS = "settings", "change of settings"

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
    database = models.CharField(blank=True, help_text="The name of the database; one storage may have runs of several.")
    requested_by = models.CharField(help_text="A username, or user@host of a command.")
    origin = models.CharField(choices=Origin.choices, default=Origin.COMMAND)
    backup = models.CharField(blank=True, help_text="The name of the backup that it made or used.")
    arguments = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    requested_at = MomentField(default=timezone.now)
    started_at = MomentField(null=True, blank=True)
    finished_at = MomentField(null=True, blank=True)
    stage = models.CharField(blank=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0, help_text="0 if it is not known in advance.")
    stages = models.JSONField(default=list, blank=True, help_text="A list of stage, began and seconds.")
    host = models.CharField(blank=True)
    pid = models.BigIntegerField(null=True, blank=True)
    result = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    error = models.TextField(blank=True)
    hint = models.TextField(blank=True)
    log = models.TextField(blank=True)
    applied = models.BooleanField(
        default=False,
        help_text="Set in the staging database before the swap: a live database with it proves that the swap succeeded",
    )
    cancel_requested = models.BooleanField(default=False)
    reported_at = MomentField(null=True, blank=True, help_text="When its process last wrote this row.")
    cancelled_by = models.CharField(blank=True, help_text="The user who requested the cancellation.")

    recovered: tuple[str, ...] = ()
    """What was cleaned up after killed runs, in sentences. The executor sets it; there is no column."""

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


class HasCopyIn(models.Func):
    """Whether `Backup.copies` has one in the storage location `name`, good or not.

    SQLite searches the text of the list, which Django has written: otherwise it would need a row for each element.
    """

    template = "(INSTR(%(expressions)s) > 0)"
    output_field = models.BooleanField()

    def __init__(self, name: str) -> None:
        super().__init__("copies", models.Value(f'"location": "{name}"'))
        self.name = name

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        searched, (column, _) = self.copy(), self.get_source_expressions()
        searched.set_source_expressions([column, models.Value([{"location": self.name}], models.JSONField())])
        return searched.as_sql(compiler, connection, template="(%(expressions)s)", arg_joiner=" @> ")


class HasDamagedCopy(models.Func):
    """Whether one of `Backup.copies` has an error; how it is searched for as in `HasCopyIn`."""

    template = """(INSTR(REPLACE(%(expressions)s, '"error": ""', ''), '"error": "') > 0)"""
    output_field = models.BooleanField()

    def __init__(self) -> None:
        super().__init__("copies")

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        return self.as_sql(compiler, connection, template="""(%(expressions)s @? '$[*] ? (@.error > "")')""")


class BackupQuerySet(models.QuerySet["Backup"]):
    """Backups, the newest first."""

    def with_state(self) -> Self:
        """Each with its `state`: the first of `STATE_RULES` that holds, or unverified."""
        rules = (models.When(rule, then=models.Value(state)) for state, rule in STATE_RULES.items())
        otherwise = models.Value(Backup.State.UNVERIFIED)
        return self.annotate(state=models.Case(*rules, default=otherwise, output_field=models.CharField()))

    def verified(self) -> Self:
        """Those whose file is present, that are signed here, and whose last verification passed."""
        return self.filter(IS_VERIFIED)

    def in_location(self, name: str) -> Self:
        """Those with a copy in the storage location `name`, good or not."""
        return self.filter(HasCopyIn(name))

    def good(self) -> Self:
        """The verified ones that are not suspicious, or were decided to be right."""
        return self.verified().exclude(suspicion__in=("undecided", "wrong"))

    def undeletable_names(self) -> set[str]:
        """The last verified backup, and the last of them that is not suspicious."""
        newest = (
            rows.order_by("-taken_at").values_list("name", flat=True).first() for rows in (self.verified(), self.good())
        )
        return set(filter(None, newest))


class Backup(models.Model):
    """One backup as its manifest in the storage describes it; sizes are bytes, times are UTC."""

    class State(models.TextChoices):
        """Whether a restore can use a backup; see `BackupQuerySet.with_state`."""

        FILE_MISSING = "file_missing", "file missing"
        TAMPERED = "tampered", "tampered with"
        FAILED = "failed", "verification failed"
        UNTRUSTED = "untrusted", "untrusted"
        FOREIGN = "foreign", "not signed here"
        SUSPICIOUS = "suspicious", "suspicious"
        WRONG = "wrong", "decided to be wrong"
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
    taken_at = MomentField(help_text="The time of its snapshot.")
    size = models.BigIntegerField()
    uncompressed_size = models.BigIntegerField(help_text="Before compression.")
    rows = models.BigIntegerField()
    duration = models.FloatField()
    note = models.TextField(blank=True)
    pinned = models.BooleanField(default=False)
    verified_level = models.CharField(blank=True)
    verified_at = MomentField(null=True, blank=True)
    verification_seconds = models.FloatField(null=True, blank=True)
    verification_error = models.TextField(blank=True)
    suspicion = models.CharField(
        blank=True, help_text="Empty for a backup that is not suspicious; else undecided, right or wrong."
    )
    trust = models.CharField()
    file_missing = models.BooleanField(default=False, help_text="The manifest exists, but no location has its file.")
    copies = models.JSONField(default=list, help_text="A list of location, size, verified_at, error and answers.")
    copy_count = models.PositiveSmallIntegerField(default=0, help_text="Good copies in locations that answer.")
    run = models.CharField(blank=True, help_text="The id of the run that made it.")
    recipients = models.JSONField(
        null=True, blank=True, help_text="The public keys of its encrypted copies; null where there are none."
    )
    manifest = models.JSONField(default=dict)

    state: str
    """A `State`, annotated by `BackupQuerySet.with_state`; there is no column."""

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
            models.Index(
                fields=["-taken_at"], condition=models.Q(recipients__isnull=False), name="ops_backup_encrypted_taken"
            ),
            models.Index(
                fields=["taken_at"], condition=models.Q(suspicion="undecided"), name="ops_backup_undecided_taken"
            ),
            # For the sum of all sizes: with their manifests, the rows take many times as long to read.
            models.Index(fields=["size"], name="ops_backup_size"),
        )

    def __str__(self) -> str:
        return self.name


STATE_RULES = {
    Backup.State.FILE_MISSING: models.Q(file_missing=True),
    Backup.State.TAMPERED: models.Q(trust="tampered"),
    Backup.State.FAILED: ~models.Q(verification_error=""),
    Backup.State.UNTRUSTED: models.Q(origin="upload"),
    Backup.State.FOREIGN: ~models.Q(trust="signed"),
    Backup.State.SUSPICIOUS: models.Q(suspicion="undecided") & ~models.Q(verified_level=""),
    Backup.State.WRONG: models.Q(suspicion="wrong") & ~models.Q(verified_level=""),
    Backup.State.RESTORE_TESTED: models.Q(verified_level="restored"),
    Backup.State.VERIFIED: models.Q(verified_level="read"),
}
"""The first rule that matches counts."""
IS_VERIFIED = models.Q(
    ~models.Q(origin="upload"),
    trust="signed",
    file_missing=False,
    verification_error="",
    verified_level__in=("read", "restored"),
)
"""The state is restore tested, verified, suspicious or wrong: a suspicious backup is verified too.

`BackupRecord.verified` is the same for a manifest. It stands without the state, which takes several times as long.
"""
IS_RESTORE_TESTED = IS_VERIFIED & models.Q(verified_level="restored")
