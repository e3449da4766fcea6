"""Rows that Django itself writes: some in every table, with all that is awkward and allowed."""

import datetime as dt
import decimal
import uuid

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session

from tests.otherproject import models

AWKWARD = (
    "NULL",
    "",
    "\\.",
    "\\N",
    "it's",
    "''",
    "'NULL'",
    '"quoted"',
    "a,b",
    "tab\tnew\nline\r\nreturn",
    "back\\slash\\n",
    "\x01\x1f\x7f",
    "𝄞 é ß 漢字 \u2028",
    "  spaces  ",
    "%s %Q %%",
)
UTC = dt.UTC


def write_library() -> None:
    write_people()
    write_books()
    write_everything()
    write_keys()


def write_people() -> None:
    user = get_user_model().objects.create_user("ada@example.org", "correct horse", full_name="Ada O'Neill")
    group = Group.objects.create(name="librarians")
    group.permissions.add(Permission.objects.get(codename="add_book"))
    user.groups.add(group)
    user.user_permissions.add(Permission.objects.get(codename="change_book"))
    content_type = ContentType.objects.get_for_model(models.Book)
    Permission.objects.create(content_type=content_type, codename="lend", name="May lend out")
    Session.objects.create(session_key="s" * 32, session_data="x", expire_date=dt.datetime(2030, 1, 1, tzinfo=UTC))


def write_books() -> None:
    authors = [models.Author.objects.create(name=f"Author {number}") for number in range(3)]
    authors[1].mentor = authors[0]
    books = [
        models.Book.objects.create(
            id=uuid.UUID(int=number * 7919 + 1), title=f"Book {number}", author=authors[number % 3], pages=number
        )
        for number in range(4)
    ]
    authors[0].favourite = books[3]
    for author in authors:
        author.save()
    comic = models.Comic.objects.create(
        id=uuid.UUID(int=99), title="Comic", author=authors[2], price=decimal.Decimal("999.99"), colour=False
    )
    tags = [models.Tag.objects.create(name=name) for name in ("b", "a", "Z", "é", "_", "NULL", "")]
    books[0].tags.add(*tags)
    books[1].similar.add(books[2], comic)
    shelf = models.Shelf.objects.create(room="hall", number=-1)
    models.Place.objects.create(shelf=shelf, position=1, book=books[0])
    models.Place.objects.create(shelf=shelf, position=10, book=comic)
    models.Slot.objects.create(label="seen", code="1", guest=authors[0])
    models.Slot.objects.create(label="hidden", hidden=True)
    models.Sighting.objects.create(code=uuid.UUID(int=1), moment=dt.datetime(2026, 1, 1, tzinfo=UTC), note="x")


def write_everything() -> None:
    for text in AWKWARD:
        models.Everything.objects.create(long=text, short=text[:20], data={"text": text, "list": [text, None, True]})
    models.Everything.objects.create(
        small=-(2**15),
        number=2**31 - 1,
        big=-(2**63),
        positive=0,
        flag=False,
        real=0.1 + 0.2,
        money=decimal.Decimal("-1234567890.12"),
        day=dt.date(1, 1, 1),
        moment=dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        clock=dt.time(23, 59, 59, 100),
        span=-dt.timedelta(days=400, microseconds=1),
        code=uuid.UUID(int=2**128 - 1),
        address="2001:db8::1",
        blob=bytes(range(256)),
        data=[1.5, 10**30, -0.25, {"é": "\u2028"}],
    )
    models.Everything.objects.create(
        small=2**15 - 1,
        number=-(2**31),
        big=2**63 - 1,
        positive=2**31 - 1,
        flag=True,
        real=5e-324,
        money=decimal.Decimal("0.10"),
        day=dt.date(9999, 12, 31),
        moment=dt.datetime(1, 1, 1, tzinfo=UTC),
        clock=dt.time(0),
        span=dt.timedelta(0),
        code=uuid.UUID(int=0),
        address="127.0.0.1",
        blob=b"",
        data="null",
    )


def write_keys() -> None:
    """Enough keys of each kind that the order of their texts is not that of their values."""
    for number in (9, 10, 100, -5):
        models.BySpan.objects.create(key=dt.timedelta(microseconds=number))
        models.ByReal.objects.create(key=number / 3)
        models.ByPrice.objects.create(key=decimal.Decimal(number))
        models.ByBlob.objects.create(key=str(number).encode())
        models.ByAddress.objects.create(key=f"10.0.0.{abs(number)}")
        models.ByDay.objects.create(key=dt.date(1000 + number, 1, 1))
        models.ByMoment.objects.create(key=dt.datetime(2000, 1, 1, tzinfo=UTC) + dt.timedelta(milliseconds=number))
        models.ByClock.objects.create(key=dt.time(1, 2, 3, abs(number) * 1000))
