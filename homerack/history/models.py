"""What the changes of the history belong to."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from homerack.history.entry_points import EntryPoint


class ChangeSet(models.Model):
    """One request, command or import that changed something.

    The historical rows of all tracked models refer to it (`homerack.history.tracking.historical_models`).
    """

    time = models.DateTimeField("time", default=timezone.now, db_index=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name="user",
    )
    user_name = models.CharField("name of the user", max_length=255, blank=True, editable=False)
    """As it was then; empty for a command."""
    entry_point = models.CharField("entry point", max_length=20, choices=EntryPoint, editable=False)
    description = models.TextField("description", blank=True, editable=False)
    """The path of the page, or the name of the command."""
    reverts = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="reverted_by",
        verbose_name="reverts",
    )

    class Meta:
        ordering = ("-time", "-pk")
        # Who may view rows sees their history.
        default_permissions = ()
        verbose_name = "entry of the history"
        verbose_name_plural = "history"

    def __str__(self) -> str:
        who = self.user_name or "no user"
        return f"{self.get_entry_point_display()} by {who}: {self.description}".rstrip(": ")
