"""A restore is a change of the history of the database that it makes live."""

from typing import Any

from django.contrib.auth import get_user_model

from homerack.history.entry_points import EntryPoint
from homerack.history.models import ChangeSet


def record_restore(*, description: str, requested_by: str, **_options: Any) -> None:
    """A receiver of `ops.signals.database_restored`, which is sent with the restored database as "default"."""
    users = get_user_model()
    user = users._default_manager.filter(**{users.USERNAME_FIELD: requested_by}).first()
    ChangeSet.objects.create(
        user=user, user_name=requested_by[:255], entry_point=EntryPoint.RESTORE, description=description
    )
