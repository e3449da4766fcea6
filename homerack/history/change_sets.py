"""What a change belongs to: the request, command or import that makes it.

An entry point opens a `change_set`. Its row is written with the first change, in the transaction of that change, so
what changes nothing leaves no row.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from homerack.history.entry_points import EntryPoint

if TYPE_CHECKING:
    from homerack.history.models import ChangeSet


@dataclass
class OpenChangeSet:
    """A change set that is being made. `entry_point`, `user` and `description` may be set until its row is written."""

    entry_point: EntryPoint
    user: Any = None
    description: str = ""
    reverts: "ChangeSet | None" = None
    complete: "Callable[[OpenChangeSet], None] | None" = None
    """Called before the row is written: sets what is not known at the start of a request."""
    written: "dict[str, WrittenRow]" = field(default_factory=dict)
    """By the alias of the database."""

    def row(self, using: str) -> "ChangeSet":
        """The row, which is written now unless it is there already. Call it in a transaction."""
        written = self.written.get(using)
        if written is None or not written.is_stored(using):
            written = self.written[using] = WrittenRow(self.write(using))
            transaction.on_commit(written.commit, using=using)
        return written.row

    def write(self, using: str) -> "ChangeSet":
        from homerack.history.models import ChangeSet  # noqa: PLC0415  # needs the apps

        if self.complete is not None:
            self.complete(self)
        user = self.user if self.user is not None and self.user.is_authenticated else None
        return ChangeSet.objects.using(using).create(
            user_id=user.pk if user else None,
            user_name=str(user) if user else "",
            entry_point=self.entry_point,
            description=self.description,
            reverts=self.reverts,
        )


class WrittenRow:
    """Whether `row` is stored: a transaction or a savepoint that is rolled back takes it away."""

    def __init__(self, row: "ChangeSet") -> None:
        self.row = row
        self.is_committed = False

    def commit(self) -> None:
        self.is_committed = True

    def is_stored(self, using: str) -> bool:
        """A rollback forgets what is to be called at the commit."""
        return self.is_committed or any(hook[1] == self.commit for hook in connections[using].run_on_commit)


_current: ContextVar[OpenChangeSet | None] = ContextVar("change_set", default=None)


def current() -> OpenChangeSet | None:
    """The change set that is open, if any."""
    return _current.get()


@contextmanager
def change_set(
    entry_point: EntryPoint, user: Any = None, description: str = "", *, reverts: "ChangeSet | None" = None
) -> Iterator[OpenChangeSet]:
    """All changes within belong to one change set.

    One within another joins it. Until the first change it replaces entry point and description of the outer one, since
    it knows more: a request turns out to be an import.
    """
    outer = _current.get()
    if outer is not None:
        with joined(outer, entry_point, user, description, reverts):
            yield outer
        return
    token = _current.set(opened := OpenChangeSet(entry_point, user, description, reverts))
    try:
        yield opened
    finally:
        _current.reset(token)


@contextmanager
def joined(
    outer: OpenChangeSet, entry_point: EntryPoint, user: Any, description: str, reverts: "ChangeSet | None"
) -> Iterator[None]:
    if outer.written:
        yield
        return
    before = (outer.entry_point, outer.user, outer.description, outer.reverts)
    outer.entry_point, outer.user = entry_point, user or outer.user
    outer.description, outer.reverts = description or outer.description, reverts or outer.reverts
    try:
        yield
    finally:
        if not outer.written:
            outer.entry_point, outer.user, outer.description, outer.reverts = before


@contextmanager
def any_change_set() -> Iterator[OpenChangeSet]:
    """The open change set; without one, as in a shell, one for this write alone."""
    if (opened := _current.get()) is not None:
        yield opened
        return
    with change_set(EntryPoint.SCRIPT) as opened:
        yield opened
