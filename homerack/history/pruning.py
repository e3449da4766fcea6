"""Deletes old history."""

import datetime as dt
from typing import Any

from django.db import transaction
from django.db.models import Exists, Max, OuterRef, Q

from homerack.history.models import ChangeSet
from homerack.history.tracking import DELETED, historical_models


@transaction.atomic
def prune(*, before: dt.datetime) -> int:
    """Delete the changes `before` that time, and return their number.

    The last of them for each row that still exists then becomes its baseline, so that the time since is known whole.
    """
    changes = sum(prune_rows(historical, before) for historical in historical_models())
    used: Any = Q()
    for historical in historical_models():
        used |= Q(Exists(historical._default_manager.filter(change_set=OuterRef("pk"))))
    ChangeSet.objects.filter(~used, time__lt=before).delete()
    return changes


def prune_rows(historical: Any, before: dt.datetime) -> int:
    key = historical.instance_type._meta.pk.attname
    old = historical._default_manager.filter(history_date__lt=before).order_by()
    changes: int = old.exclude(change_set=None).count()
    last = old.values(key).annotate(last=Max("history_id")).values("last")
    old.exclude(history_id__in=last).delete()
    old.filter(history_type=DELETED).delete()
    old.exclude(change_set=None).update(change_set=None)
    return changes
