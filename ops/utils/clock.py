"""Times with a zone, also in projects with ``USE_TZ = False``, in which Django's own have none."""

import datetime as dt
from typing import Any

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def aware(moment: dt.datetime) -> dt.datetime:
    """`moment` as a time of the site's zone if it has none."""
    return timezone.make_aware(moment, timezone.get_default_timezone()) if timezone.is_naive(moment) else moment


class MomentField(models.DateTimeField):  # type: ignore[type-arg]
    """A time with a zone, stored as the project stores times. To migrations it is a `DateTimeField`."""

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs

    def get_default(self) -> Any:
        value = super().get_default()
        return aware(value) if isinstance(value, dt.datetime) else value

    def from_db_value(self, value: dt.datetime | None, _expression: Any, _wrapper: Any) -> dt.datetime | None:
        # Those of the drivers have fixed offsets.
        return aware(value) if value is not None and value.tzinfo is None else value

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:  # noqa: FBT001, FBT002
        if isinstance(value, dt.datetime) and not settings.USE_TZ and timezone.is_aware(value):
            value = timezone.make_naive(value, timezone.get_default_timezone())
        return super().get_db_prep_value(value, connection, prepared)
