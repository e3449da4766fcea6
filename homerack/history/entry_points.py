"""What changes are made through."""

from django.db import models


class EntryPoint(models.TextChoices):
    """Through what a user or a program makes changes."""

    FORM = "form", "Page"
    ACTION = "action", "Action"
    IMPORT = "import", "Import"
    COMMAND = "command", "Command"
    DEMO = "demo", "Demo lab"
    RESTORE = "restore", "Restore"
    REVERT = "revert", "Revert"
    SCRIPT = "script", "Script"
