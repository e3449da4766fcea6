"""Models of another project: every field type of Django, and every kind of table."""

import uuid

from django.db import models
from django.db.models.functions import Lower


class Everything(models.Model):
    """One column of each type, all nullable, so that a test can fill one at a time."""

    small = models.SmallIntegerField(null=True)
    number = models.IntegerField(null=True)
    big = models.BigIntegerField(null=True)
    positive = models.PositiveIntegerField(null=True)
    flag = models.BooleanField(null=True)
    short = models.CharField(max_length=20, null=True)
    long = models.TextField(null=True)
    real = models.FloatField(null=True)
    money = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    clock = models.TimeField(null=True)
    span = models.DurationField(null=True)
    code = models.UUIDField(null=True)
    address = models.GenericIPAddressField(null=True)
    blob = models.BinaryField(null=True)
    data = models.JSONField(null=True)
    touched = models.DateTimeField(auto_now=True, null=True)

    class Meta:
        db_table = "everything"


class Author(models.Model):
    """References a book, which references an author."""

    name = models.CharField(max_length=50)
    favourite = models.ForeignKey("Book", models.SET_NULL, null=True, related_name="fans")
    mentor = models.ForeignKey("self", models.SET_NULL, null=True)


class Tag(models.Model):
    """A text key, which SQLite and PostgreSQL sort differently."""

    name = models.CharField(max_length=30, primary_key=True)


class Book(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    title = models.CharField(max_length=50, unique=True)
    author = models.ForeignKey(Author, models.CASCADE)
    tags = models.ManyToManyField(Tag)
    similar = models.ManyToManyField("self")
    pages = models.PositiveIntegerField(default=1)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    letters = models.GeneratedField(
        expression=models.F("pages") * 2000, output_field=models.IntegerField(), db_persist=True
    )

    class Meta:
        constraints = (
            models.CheckConstraint(condition=models.Q(price__lt=1000), name="book_is_affordable"),
            models.UniqueConstraint(Lower("title"), name="book_title_without_case"),
        )


class Comic(Book):
    """Multi-table inheritance."""

    colour = models.BooleanField(default=True)


class Bestseller(Book):
    class Meta:
        proxy = True


class Shelf(models.Model):
    room = models.CharField(max_length=20)
    number = models.IntegerField()

    class Meta:
        unique_together = (("room", "number"),)


class Place(models.Model):
    """A primary key of two columns."""

    pk = models.CompositePrimaryKey("shelf_id", "position")
    shelf = models.ForeignKey(Shelf, models.CASCADE)
    position = models.IntegerField()
    book = models.ForeignKey(Book, models.CASCADE)


class SeenShelves(models.Manager["Slot"]):
    """A default manager that hides rows, as with soft deletion."""

    def get_queryset(self) -> models.QuerySet["Slot"]:
        return super().get_queryset().filter(hidden=False)


class Slot(models.Model):
    """A small key, a constraint for some rows only, and a reference without a database constraint."""

    id = models.SmallAutoField(primary_key=True)
    label = models.CharField(max_length=20)
    code = models.CharField(max_length=20, unique=True, null=True)
    active = models.BooleanField(default=True)
    hidden = models.BooleanField(default=False)
    guest = models.ForeignKey(Author, models.DO_NOTHING, null=True, db_constraint=False)

    objects = SeenShelves()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["label"], condition=models.Q(active=True), name="slot_active_label"),
        )


class Sighting(models.Model):
    """Unique values with several spellings in SQLite."""

    code = models.UUIDField(unique=True, null=True)
    moment = models.DateTimeField(unique=True, null=True)
    note = models.TextField(unique=True, null=True)


class ByDay(models.Model):
    key = models.DateField(primary_key=True)


class ByMoment(models.Model):
    key = models.DateTimeField(primary_key=True)


class ByClock(models.Model):
    key = models.TimeField(primary_key=True)


class ByPrice(models.Model):
    key = models.DecimalField(max_digits=12, decimal_places=2, primary_key=True)


class BySpan(models.Model):
    key = models.DurationField(primary_key=True)


class ByReal(models.Model):
    key = models.FloatField(primary_key=True)


class ByAddress(models.Model):
    key = models.GenericIPAddressField(primary_key=True)


class ByBlob(models.Model):
    key = models.BinaryField(primary_key=True)
