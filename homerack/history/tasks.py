"""What a schedule starts."""

import datetime as dt

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from homerack.history.pruning import prune


@shared_task  # type: ignore[untyped-decorator]
def prune_history() -> None:
    """Delete the history that is older than HISTORY_DAYS."""
    prune(before=timezone.now() - dt.timedelta(days=settings.HISTORY_DAYS))
