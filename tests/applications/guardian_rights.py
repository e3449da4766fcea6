"""django-guardian: rights on single objects, whose keys are numbers, UUIDs and texts, and objects that are gone."""

import uuid
from typing import Any

from django.contrib.auth.models import Group, User
from django.db import models
from guardian.models import GroupObjectPermission, UserObjectPermissionBase
from guardian.shortcuts import assign_perm, get_objects_for_group, get_objects_for_user, get_users_with_perms
from guardian.utils import clean_orphan_obj_perms, get_anonymous_user

NAMES = ["a", "A", "Größe", "日本", "x" * 60, "\\N", "a b"]


class Document(models.Model):
    name = models.CharField(max_length=60, primary_key=True)


class Ticket(models.Model):
    id = models.UUIDField(primary_key=True)


class Note(models.Model):
    text = models.TextField()


class NoteUserRight(UserObjectPermissionBase):
    content_object = models.ForeignKey(Note, models.CASCADE)


def fill() -> None:
    users = [User.objects.create_user(name[:30]) for name in NAMES]
    groups = [Group.objects.create(name=name) for name in NAMES]
    for number, name in enumerate(NAMES):
        document = Document.objects.create(name=name)
        ticket = Ticket.objects.create(id=uuid.UUID(int=number * 2**100))
        note = Note.objects.create(text=name)
        for user in users[number:]:
            assign_perm("change_document", user, document)
            assign_perm("view_note", user, note)
        assign_perm("view_ticket", groups[number], ticket)
        users[0].groups.add(groups[number])
    assign_perm("view_document", get_anonymous_user(), Document.objects.get(name="日本"))
    Ticket.objects.filter(id=uuid.UUID(int=2**100))._raw_delete("default")
    Document.objects.filter(name="a b")._raw_delete("default")


def check() -> dict[str, Any]:
    group = Group.objects.get(name="Größe")
    return {
        "users": {user.username: objects_of(user) for user in User.objects.all()},
        "group": [str(ticket.pk) for ticket in get_objects_for_group(group, "shop.view_ticket")],
        "anonymous": get_anonymous_user().has_perm("shop.view_document", Document.objects.get(name="日本")),
        "with": sorted(user.username for user in get_users_with_perms(Document.objects.get(name="Größe"))),
        "notes": {note.text: User.objects.get(username="A").has_perm("view_note", note) for note in Note.objects.all()},
        "rights": GroupObjectPermission.objects.count(),
    }


def objects_of(user: User) -> list[str]:
    return sorted(
        str(found.pk)
        for right in ("shop.change_document", "shop.view_ticket", "shop.view_note")
        for found in get_objects_for_user(user, right)
    )


def change() -> None:
    clean_orphan_obj_perms()
    Document.objects.all().delete()
