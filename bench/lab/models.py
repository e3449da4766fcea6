"""Tables of a lab with many measurements: JSON, floats, decimals, UUIDs, times, and keys in both directions."""

import uuid

from django.db import models


class Probe(models.Model):
    name = models.CharField(max_length=100, unique=True)
    notes = models.TextField(blank=True)
    settings = models.JSONField(default=dict)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    installed = models.DateField()
    latest = models.ForeignKey("Reading", models.SET_NULL, null=True, related_name="latest_of")


class Reading(models.Model):
    probe = models.ForeignKey(Probe, models.CASCADE)
    taken = models.DateTimeField(db_index=True)
    value = models.FloatField()
    cost = models.DecimalField(max_digits=12, decimal_places=4)
    token = models.UUIDField(default=uuid.uuid4, unique=True)
    label = models.CharField(max_length=60, db_index=True)
    payload = models.JSONField()
    good = models.BooleanField()


class Event(models.Model):
    reading = models.ForeignKey(Reading, models.CASCADE)
    seen = models.DateTimeField()
    text = models.TextField()
    weight = models.FloatField(null=True)
