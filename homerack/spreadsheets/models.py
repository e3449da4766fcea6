"""An import of spreadsheets in the admin, from the upload to its end."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class SpreadsheetImport(models.Model):
    """One import. Its files are in a folder of its own (`homerack.spreadsheets.files`).

    The transaction that imports the rows also sets `state` to IMPORTED, so the state says what was done, whatever
    happens to the process.
    """

    class State(models.TextChoices):
        """Each of the first and the third waits for a process until `begun_at` is set."""

        PLANNING = "planning", "reading"
        PLANNED = "planned", "not imported yet"
        IMPORTING = "importing", "importing"
        IMPORTED = "imported", "imported"
        FAILED = "failed", "failed"

    id = models.UUIDField("id", primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", verbose_name="user")
    created_at = models.DateTimeField("created", default=timezone.now)
    queued_at = models.DateTimeField("queued", default=timezone.now)
    """When it was last handed over to a process."""
    begun_at = models.DateTimeField("begun", null=True)
    finished_at = models.DateTimeField("finished", null=True)
    state = models.CharField("state", max_length=10, choices=State, default=State.PLANNING)
    is_large = models.BooleanField("large", default=False)
    """A worker reads and imports it."""
    names = models.JSONField("files", default=list)
    """The names of the files, in the order of their numbers in the folder."""
    preview = models.JSONField("preview", null=True)
    """`homerack.spreadsheets.preview.Preview`, once there is a plan."""
    digest = models.CharField("plan", max_length=64, blank=True)
    note = models.TextField("note", blank=True)
    """Why there is another preview, or why it failed."""
    change_set = models.CharField("entry of the history", max_length=36, blank=True)

    class Meta:
        default_permissions = ()
        ordering = ("-created_at", "pk")
        verbose_name = "import of spreadsheets"
        verbose_name_plural = "imports of spreadsheets"

    def __str__(self) -> str:
        return f"Import of {', '.join(self.names)}"

    @property
    def is_unfinished(self) -> bool:
        """A process works on it, or is to."""
        return self.state in UNFINISHED

    @property
    def is_waiting(self) -> bool:
        return self.is_unfinished and self.begun_at is None


State = SpreadsheetImport.State
UNFINISHED = (State.PLANNING, State.IMPORTING)
BEGUN = Q(state__in=UNFINISHED, begun_at__isnull=False)
