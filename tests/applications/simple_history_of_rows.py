"""django-simple-history: rows that were changed and deleted, many-to-many relations, odd times, keys that are UUIDs."""

import datetime as dt
import decimal
import json
import uuid
from typing import Any

from django.conf import settings
from django.db import models
from simple_history.models import HistoricalRecords, HistoricForeignKey

MOMENTS = [
    dt.datetime(1, 1, 3, tzinfo=dt.UTC),
    dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
    dt.datetime(2026, 3, 29, 0, 59, 59, tzinfo=dt.UTC),
    dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC),  # both are 02:30 in Berlin
    dt.datetime(2026, 10, 25, 1, 30, tzinfo=dt.UTC),
    dt.datetime(9999, 12, 29, tzinfo=dt.UTC),
]
if not settings.USE_TZ:
    MOMENTS = [moment.replace(tzinfo=None) + dt.timedelta(hours=1) for moment in MOMENTS]
TEXTS = ["", "Größe", "\\N", "a\tb\r\n", "日本" * 3000, "'\"%s{}", "\ufeff\u202e"]


class Label(models.Model):
    name = models.CharField(max_length=20, unique=True)


class Shelf(models.Model):
    name = models.TextField(blank=True)
    history = HistoricalRecords()


class Thing(models.Model):
    id = models.UUIDField(primary_key=True)
    text = models.TextField(blank=True)
    price = models.DecimalField(max_digits=9, decimal_places=3, null=True)
    due = models.DateField(null=True)
    details = models.JSONField(default=dict)
    photo = models.FileField(upload_to="ä b", blank=True)
    shelf = HistoricForeignKey(Shelf, models.SET_NULL, null=True)
    labels = models.ManyToManyField(Label)
    history = HistoricalRecords(
        m2m_fields=[labels],
        history_id_field=models.UUIDField(default=uuid.uuid4),
        history_change_reason_field=models.TextField(null=True),
    )


def fill() -> None:
    labels = [Label.objects.create(name=name) for name in ("a", "A", "ä", "")]
    shelf = Shelf(name="first")
    shelf._history_date = MOMENTS[0]
    shelf.save()
    for number, text in enumerate(TEXTS):
        thing = Thing(id=uuid.UUID(int=number * 2**100), shelf=shelf)
        for version, moment in enumerate(MOMENTS):
            thing.text = f"{text}{version}"
            thing.price = decimal.Decimal("-0.100") * version if version else None
            thing.due = dt.date(9999, 12, 31) if version % 2 else dt.date(1, 1, 1)
            thing.details = {"ä": [version, 2.5, None], "\\": text[:9]}
            thing.photo = f"ä b/{version}.jpg"
            thing._history_date = moment
            thing._change_reason = text[:90] or None
            thing.save()
        thing.labels.set(labels[: number % 4])
    for number in (1, 4):
        Thing.objects.get(id=uuid.UUID(int=number * 2**100)).delete()
    shelf._history_date = MOMENTS[3]
    shelf.name = "renamed"
    shelf.save()
    Shelf.objects.create(name="gone").delete()


def check() -> dict[str, Any]:
    first = Thing.history.filter(id=uuid.UUID(int=0)).earliest()
    last = Thing.history.filter(id=uuid.UUID(int=0)).latest()
    return {
        "deleted": sorted(str(row.id) for row in Thing.history.filter(history_type="-")),
        "labels": [
            sorted(row.label.name for row in entry.labels.all()) for entry in Thing.history.order_by("id", "pk")
        ],
        "delta": sorted(
            [change.field, canonical(change.old), canonical(change.new)]
            for change in last.diff_against(first, foreign_keys_are_objs=False).changes
        ),
        "before": [first.next_record.text, last.prev_record is not None],
        "as of": [sorted(thing.text for thing in Thing.history.as_of(moment)) for moment in MOMENTS],
        "shelf": [thing.shelf.name for thing in Thing.history.as_of(MOMENTS[1])[:2]],
        "most recent": first.instance.history.most_recent().text,
        "by day": Thing.history.filter(history_date__date=dt.date(2026, 10, 25)).count(),
    }


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def change() -> None:
    Thing.objects.all().delete()
    Thing.history.filter(history_type="-").delete()
