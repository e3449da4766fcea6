"""django-polymorphic: children of several levels, relations to the base, deleted children, and rows of a base alone."""

import datetime as dt
import decimal
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import models
from polymorphic.models import PolymorphicModel
from polymorphic.showfields import ShowFieldContent


class Asset(ShowFieldContent, PolymorphicModel):
    name = models.CharField(max_length=100, blank=True)
    related = models.ManyToManyField("self", blank=True)
    owner = models.ForeignKey("self", models.SET_NULL, null=True, related_name="owned")


class Machine(Asset):
    power = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    bought = models.DateField(null=True)


class Server(Machine):
    address = models.GenericIPAddressField(null=True)
    facts = models.JSONField(default=dict)


class Blade(Server):
    key = models.BinaryField(default=b"")


class Licence(Asset):
    code = models.UUIDField(null=True)
    ends = models.DateTimeField(null=True)


class SiteLicence(Licence):
    class Meta:
        proxy = True


NAMES = ["", "Größe", "\\N", "日本", "a\tb", "'\"", "x" * 100]


def fill() -> None:
    made: list[Asset] = []
    for number, name in enumerate(NAMES):
        owner = made[0] if made else None
        made += [
            Asset.objects.create(name=name, owner=owner),
            Machine.objects.create(name=name, power=decimal.Decimal("-0.0000000010") * number, owner=owner),
            Server.objects.create(name=name, address="::ffff:1.2.3.4", facts={"ä": [number, None]}, owner=owner),
            Blade.objects.create(name=name, key=bytes(range(number * 30)), bought=dt.date(1, 1, 1)),
            Licence.objects.create(name=name, ends=dt.datetime(9998, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC)),
            SiteLicence.objects.create(name=name),
        ]
    for first, second in zip(made, made[3:], strict=False):
        first.related.add(second)
    Blade.objects.get(name="日本").delete()
    Asset.objects.get(name="Größe", polymorphic_ctype=ContentType.objects.get_for_model(Asset)).delete()
    # The row of a parent stays when only that of the child is deleted.
    Server.objects.get(name="\\N", polymorphic_ctype=ContentType.objects.get_for_model(Server)).delete(
        keep_parents=True
    )


def check() -> dict[str, Any]:
    # Without blades: the drivers return other types for bytes.
    servers = Asset.objects.instance_of(Server).not_instance_of(Blade)
    return {
        "kinds": [type(asset).__name__ for asset in Asset.objects.order_by("pk")],
        "shown": [str(asset) for asset in servers.order_by("pk")],
        "not": Asset.objects.not_instance_of(Machine).count(),
        "filter": Asset.objects.filter(Server___facts__ä__0__gt=2).count(),
        "keys": [len(asset.key) for asset in Asset.objects.instance_of(Blade).order_by("pk")],
        "related": [
            sorted(type(other).__name__ for other in asset.related.all()) for asset in Asset.objects.order_by("pk")
        ],
        "owned": sorted(type(asset).__name__ for asset in Asset.objects.order_by("pk")[0].owned.all()),
        "plain": [type(asset).__name__ for asset in Asset.objects.non_polymorphic().order_by("pk")[:3]],
    }


def change() -> None:
    Machine.objects.all().delete()
    Asset.objects.update(name="changed")
