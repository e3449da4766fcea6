"""django-taggit: tags on models with whole numbers and UUIDs as keys, a model of one's own in between, odd tags."""

import uuid
from typing import Any

from django.db import models
from taggit.managers import TaggableManager
from taggit.models import GenericUUIDTaggedItemBase, ItemBase, Tag, TagBase, TaggedItem

NAMES = [
    "Größe",
    "größe",
    "GRÖSSE",
    "日本",
    "a, b",
    "'\"%s",
    "e\u0301",
    "\u00e9",
    "x" * 100,
    " ",
    "\\N",
    "NULL",
    "👍🏽",
]


class UUIDTaggedItem(GenericUUIDTaggedItemBase, models.Model):
    tag = models.ForeignKey(Tag, models.CASCADE, related_name="uuid_items")


class Colour(TagBase):
    code = models.CharField(max_length=7, blank=True)


class Painted(ItemBase):
    tag = models.ForeignKey(Colour, models.CASCADE, related_name="painted")
    content_object = models.ForeignKey("Photo", models.CASCADE)
    at = models.DateTimeField(null=True)


class Photo(models.Model):
    title = models.TextField(blank=True)
    tags = TaggableManager()
    colours = TaggableManager(through=Painted, related_name="coloured")


class Song(models.Model):
    id = models.UUIDField(primary_key=True)
    tags = TaggableManager(through=UUIDTaggedItem)


def fill() -> None:
    for number, name in enumerate(NAMES):
        photo = Photo.objects.create(title=name * 50)
        photo.tags.set([name, *NAMES[:number]])
        photo.colours.add(name[:40], through_defaults={"at": None}, tag_kwargs={"code": f"#{number:06}"})
        song = Song.objects.create(id=uuid.UUID(int=2**127 + number))
        song.tags.add(*NAMES[number:])
    Photo.objects.get(title=NAMES[3] * 50).tags.clear()
    Photo.objects.get(title=NAMES[4] * 50).delete()
    # A tag of an object that is gone: generic relations have no foreign key.
    Song.objects.filter(id=uuid.UUID(int=2**127))._raw_delete("default")


def check() -> dict[str, Any]:
    return {
        "slugs": dict(Tag.objects.values_list("name", "slug")),
        "tags": {photo.title: sorted(photo.tags.names()) for photo in Photo.objects.all()},
        "by tag": {name: Photo.objects.filter(tags__name=name).distinct().count() for name in NAMES},
        "songs": {name: sorted(str(song.pk) for song in Song.objects.filter(tags__name=name)) for name in NAMES},
        "similar": sorted(item.title for item in Photo.objects.first().tags.similar_objects()),
        "common": sorted((tag.name, tag.num_times) for tag in Photo.tags.most_common()),
        "colours": sorted(Photo.objects.filter(colours__code="#000002").values_list("colours__slug", flat=True)),
        "items": TaggedItem.objects.filter(content_type__model="photo").count(),
    }


def change() -> None:
    Photo.objects.last().delete()
    Tag.objects.filter(name__startswith="x").delete()
    Photo.objects.first().tags.add("new")
