"""What a suspicious backup has lost, and what a user decided. It is part of the manifest."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from ops.utils import schema
from ops.utils.formatting import format_size, pluralize
from ops.utils.schema import Count, Moment, Text


class LossOf(StrEnum):
    """What became less, the largest first where as many rows are lost."""

    ROWS = "rows"
    APP = "app"
    TABLE = "table"
    BYTES = "bytes"


class Loss(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows, or bytes, of a backup at the time `at` that are fewer than `before`.

    `name` is that of the app or table, '' for the whole database.
    """

    of: LossOf
    name: Text = ""
    before: Count
    after: Count
    at: Moment

    def __post_init__(self) -> None:
        schema.require_time(self.at)
        if self.after > self.before:
            raise ValueError(f"{self.after} is no loss from {self.before}")

    def __str__(self) -> str:
        percent = 100 * (self.before - self.after) // max(self.before, 1)
        match self.of:
            case LossOf.BYTES:
                return (
                    f"The dump shrank by {percent}%: {format_size(self.before)} before, {format_size(self.after)} now."
                )
            case LossOf.ROWS:
                return f"The database lost {percent}% of its rows: {self.before:,} before, {self.after:,} now."
            case LossOf.APP:
                return f"All rows of the app {self.name} are gone: {self.before:,} before."
        if not self.after:
            return f"The table {self.name} has no rows: {self.before:,} before."
        return f"The table {self.name} lost {percent}% of its rows: {self.before:,} before, {self.after:,} now."


class Decision(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user decided on a suspicious backup: that the database is `right` as it is in the backup, or not."""

    right: bool
    decided_by: Text
    decided_at: Moment

    def __post_init__(self) -> None:
        schema.require_time(self.decided_at)


class Verdict(StrEnum):
    """Whether a suspicious backup was decided on, and how."""

    UNDECIDED = "undecided"
    RIGHT = "right"
    WRONG = "wrong"


class Suspicion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a backup is suspicious: what it has lost since the backup `compared_with`.

    `losses` are the largest of all, whose number is `number`.
    """

    losses: Annotated[tuple[Loss, ...], Meta(min_length=1)]
    number: Count
    compared_with: Text
    decision: Decision | None = None

    @property
    def verdict(self) -> Verdict:
        if self.decision is None:
            return Verdict.UNDECIDED
        return Verdict.RIGHT if self.decision.right else Verdict.WRONG

    def choices(self, name: str) -> list[str]:
        """What a user can do about the suspicious backup `name`."""
        return [
            f"If this is right: manage.py decide_backup {name} --right",
            f"If not, restore the last good backup: manage.py restore_database {self.compared_with}",
        ]

    def describe(self) -> list[str]:
        """A sentence for each of `losses`, and one on the rest."""
        more = self.number - len(self.losses)
        rest = [f"{pluralize(more, 'other loss', 'other losses')} like these."] if more > 0 else []
        return [*map(str, self.losses), *rest]
