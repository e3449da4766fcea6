"""What a person may do with a backup, as buttons: the same in the list's rows and on the backup's page."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import reverse

from ops.admin.states import State, state_of
from ops.models import Backup, Run
from ops.runs.authorization import Person, may_start


@dataclass(frozen=True, kw_only=True)
class Button:
    """`posts` to its address, or leads there; `icon` is a Material Symbol; `value` is what a post says as ``set``.

    `label` says it in full, `short` in a word.
    """

    short: str
    label: str
    icon: str
    url: str
    posts: bool = True
    value: str = ""


def last_verified() -> str:
    """The name of the backup that nobody may delete, or '' where none is verified."""
    return Backup.objects.verified().values_list("name", flat=True).first() or ""


def buttons_for(person: Person, backup: Backup, *, last: str) -> Iterator[Button]:
    """Those that `person` has the permission for and that make sense; `last` is what `last_verified` says."""
    state = state_of(backup)
    if state is not State.MISSING:
        yield from buttons_for_data(person, backup, state)
    if may(person, "pin"):
        if backup.pinned:
            yield button(
                backup, "pin", "Unpin", "Unpin: let the retention policy decide", "bookmark_remove", value="no"
            )
        else:
            yield button(
                backup, "pin", "Pin", "Pin: keep it whatever the retention policy says", "bookmark_add", value="yes"
            )
        yield button(backup, "note", "Note", "Note", "edit_note", posts=False)
    if may(person, "delete") and backup.name != last:
        yield button(backup, "delete", "Delete", "Delete", "delete", posts=False)


def buttons_for_data(person: Person, backup: Backup, state: State) -> Iterator[Button]:
    if may_start(person, Run.Kind.RESTORE) and state is not State.TAMPERED:
        yield button(backup, "restore", "Restore", "Restore", "settings_backup_restore", posts=False)
    if may_start(person, Run.Kind.VERIFICATION):
        yield button(backup, "verify", "Verify", "Verify: read it back and count", "task_alt")
    if may_start(person, Run.Kind.RESTORE_TEST):
        yield button(
            backup,
            "restore-test",
            "Restore test",
            "Restore test: load it into a scratch database and compare",
            "experiment",
        )
    if is_administrator(person):
        yield button(backup, "download", "Download", "Download", "download")


def may(person: Person, what: str) -> bool:
    return person.has_perm(f"ops.{what}_backup")


def is_administrator(person: Person) -> bool:
    """A backup is the whole database, so taking one away or bringing one in is not for a group."""
    return person.is_active and person.is_superuser


def button(
    backup: Backup, name: str, short: str, label: str, icon: str, *, posts: bool = True, value: str = ""
) -> Button:
    url = reverse(f"admin:ops_backup_{name.replace('-', '_')}", args=[backup.pk])
    return Button(short=short, label=label, icon=icon, url=url, posts=posts, value=value)
