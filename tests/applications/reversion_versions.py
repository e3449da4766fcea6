"""django-reversion: versions of rows as JSON, of deleted rows too, with odd values, formats and comments."""

import datetime as dt
import decimal
import uuid
from typing import Any

import reversion
from django.contrib.auth.models import User
from django.db import models
from reversion.models import Revision, Version

TEXTS = ["", "Größe", "\\N", "\\u0000", "a\tb\r\n", "日本" * 5000, "'\"%s{}", "\u2028"]


@reversion.register()
class Author(models.Model):
    name = models.CharField(max_length=90, blank=True)


@reversion.register(follow=["author"], format="json")
class Book(models.Model):
    id = models.UUIDField(primary_key=True)
    author = models.ForeignKey(Author, models.CASCADE, null=True)
    title = models.TextField(blank=True)
    price = models.DecimalField(max_digits=9, decimal_places=3, null=True)
    printed = models.DateTimeField(null=True)
    data = models.JSONField(default=dict)
    cover = models.BinaryField(default=b"")
    others = models.ManyToManyField("self", symmetrical=False)


@reversion.register(fields=["name"], use_natural_foreign_keys=True)
class Shop(models.Model):
    name = models.SlugField(primary_key=True, max_length=90)
    size = models.BigIntegerField(default=-(2**63))


def fill() -> None:
    user = User.objects.create_user("anna")
    for number, text in enumerate(TEXTS):
        with reversion.create_revision(atomic=True):
            author = Author.objects.create(name=text[:90])
            book = Book.objects.create(
                id=uuid.UUID(int=number * 2**100),
                author=author,
                title=text,
                price=decimal.Decimal("-0.100"),
                printed=dt.datetime(9999, 12, 30, 1, 2, 3, 4, tzinfo=dt.UTC) if number % 2 else None,
                data={"ä": [1.5, None, text[:9]]},
                cover=bytes(range(256)),
            )
            book.others.set(Book.objects.all()[:2])
            Shop.objects.create(name=f"shop-{number}")
            reversion.set_user(user)
            reversion.set_comment(text)
            reversion.set_date_created(dt.datetime(2026, 10, 25, number % 2, 30, tzinfo=dt.UTC))
        with reversion.create_revision():
            book.title = f"{text} 2"
            book.save()
    Book.objects.get(id=uuid.UUID(int=2**100)).delete()
    Shop.objects.get(name="shop-3").delete()
    author.delete()


def check() -> dict[str, Any]:
    # Not the deleted books: in SQLite, django-reversion compares texts of UUIDs with and without dashes.
    book = Book.objects.get(id=uuid.UUID(int=0))
    versions = Version.objects.get_for_object(book)
    shops = Version.objects.get_deleted(Shop)
    return {
        "versions": [version.field_dict["title"] for version in versions],
        "covers": [bytes(version.field_dict["cover"]) == bytes(range(256)) for version in versions],
        "deleted": sorted(
            str(version.object_id) for model in (Author, Shop) for version in Version.objects.get_deleted(model)
        ),
        "restorable": [[version.object_repr, version._object_version.object.pk] for version in shops],
        "comments": [revision.comment for revision in Revision.objects.order_by("pk")],
        "dates": [str(revision.date_created) for revision in Revision.objects.order_by("pk")][::2],
        "titles": [version.field_dict["title"] for version in Version.objects.get_for_model(Book).order_by("pk")],
        "reverted": reverted(versions.last()),
    }


def reverted(version: Version) -> str:
    """The title that the book would have."""
    return str(version._object_version.object.title)


def change() -> None:
    Version.objects.get_deleted(Shop)[0].revert()
    Book.objects.all().delete()
    Revision.objects.filter(comment="").delete()
