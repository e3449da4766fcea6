"""Rights that a restore would raise: two sets of accounts are compared.

Two accounts are the same one when primary key and name are equal. Rights are what Django's ModelBackend gives: an
inactive account has none, a superuser has all, any other account has its own permissions and those of its groups.
Groups are compared by name, permissions by app, model and codename, because numbers differ between databases.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

from ops.utils.formatting import join_names, pluralize

MAX_PERMISSIONS_NAMED = 5
SHOWN_AT_FIRST = 10


class Permission(NamedTuple):
    """A permission as Django identifies it."""

    app: str
    model: str
    codename: str

    def __str__(self) -> str:
        return f"{self.app}.{self.codename}"


Permissions = frozenset[Permission]


@dataclass(frozen=True, kw_only=True)
class Account:
    """A row of the user model. `password` is the stored hash.

    `marks` are descriptions of other values of its row that give rights, such as "access to the admin site". `groups`
    are names, `own` the permissions that were granted to it directly.
    """

    key: str
    name: str
    password: str | None = None
    active: bool = True
    superuser: bool = False
    marks: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    own: Permissions = frozenset()


NO_ACCOUNT = Account(key="", name="")


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """The accounts of one database, and the permissions of each group."""

    accounts: Collection[Account] = ()
    groups: Mapping[str, Permissions] = field(default_factory=dict)

    def permissions(self, account: Account) -> Permissions:
        """Its own permissions and those of its groups."""
        return account.own.union(*(self.groups.get(name, frozenset()) for name in account.groups))


class Cause(StrEnum):
    """Why an account gets a right that it does not have today."""

    SUPERUSER = "superuser"
    MARK = "mark"
    JOINS = "joins a group"
    GROUP_GAINS = "its group has more permissions"
    GRANTED = "granted to the account"


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One of the rights that an account gets. `subject` is the group or the mark, `permissions` are new to it."""

    cause: Cause
    subject: str = ""
    permissions: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """A noun phrase that follows "gets"."""
        match self.cause:
            case Cause.SUPERUSER:
                return "all permissions (superuser)"
            case Cause.MARK:
                return self.subject
            case Cause.JOINS:
                return f"the {self.subject} with {self._permissions}"
            case Cause.GROUP_GAINS:
                return f"{self._permissions}, which the {self.subject} will get"
        return f"{self._permissions} granted directly"

    @property
    def _permissions(self) -> str:
        return (
            f"{pluralize(len(self.permissions), 'permission')} ({join_names(self.permissions, MAX_PERMISSIONS_NAMED)})"
        )


@dataclass(frozen=True, kw_only=True)
class Gain:
    """An account, and the rights that it gets and does not have today."""

    name: str
    reasons: tuple[Reason, ...]
    active: bool = True

    @property
    def description(self) -> str:
        """Its rights, or that it has none."""
        if not self.active:
            return "deactivated"
        return "; ".join(reason.description for reason in self.reasons) or "no permissions"


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """The account with the primary key `key` is `then` instead of `now`; rows that refer to `key` refer to `then`."""

    key: str
    now: str
    then: str


@dataclass(frozen=True, kw_only=True)
class RightsChange:
    """How a restore changes accounts and rights. `unknown` says why they could not be compared, or is ''.

    `raised` are active now and then. `revived` are inactive today. `returning` do not exist today.
    """

    raised: tuple[Gain, ...] = ()
    revived: tuple[Gain, ...] = ()
    returning: tuple[Gain, ...] = ()
    passwords: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    replaced: tuple[Replaced, ...] = ()
    unknown: str = ""

    @property
    def returning_with_rights(self) -> tuple[Gain, ...]:
        return tuple(gain for gain in self.returning if gain.reasons)

    @property
    def needs_administrator(self) -> bool:
        """Whether it raises rights or activates an account, or might."""
        return bool(self.unknown or self.raised or self.revived or self.returning_with_rights)

    @property
    def gaining(self) -> tuple[str, ...]:
        """The names of those who may do more than today."""
        return tuple(gain.name for gain in (*self.raised, *self.revived, *self.returning_with_rights))


def compare(now: Accounts, then: Accounts) -> RightsChange:
    """What changes when `then` replaces `now`. Names are sorted."""
    ours = {(account.key, account.name): account for account in now.accounts}
    theirs = {(account.key, account.name): account for account in sorted(then.accounts, key=attrgetter("name", "key"))}
    stay = [(ours[key], account) for key, account in theirs.items() if key in ours]
    new = [account for key, account in theirs.items() if key not in ours]
    gone = {account.key: account for key, account in ours.items() if key not in theirs}
    gains = [(before, gain(now, before, then, after)) for before, after in stay]
    return RightsChange(
        raised=tuple(found for before, found in gains if before.active and found.reasons),
        revived=tuple(found for before, found in gains if found.active and not before.active),
        returning=tuple(gain(now, NO_ACCOUNT, then, after) for after in new),
        passwords=tuple(after.name for before, after in stay if before.password != after.password),
        removed=tuple(sorted(account.name for account in gone.values())),
        replaced=tuple(
            Replaced(key=after.key, now=gone[after.key].name, then=after.name) for after in new if after.key in gone
        ),
    )


def gain(now: Accounts, before: Account, then: Accounts, after: Account) -> Gain:
    return Gain(name=after.name, active=after.active, reasons=tuple(reasons(now, before, then, after)))


def reasons(now: Accounts, before: Account, then: Accounts, after: Account) -> Iterator[Reason]:
    """The rights that `after` has and `before` does not have."""
    if not after.active:
        return
    if not before.active:
        before = NO_ACCOUNT
    if after.superuser and not before.superuser:
        yield Reason(cause=Cause.SUPERUSER)
    for mark in sorted(after.marks - before.marks):
        yield Reason(cause=Cause.MARK, subject=mark)
    if not after.superuser and not before.superuser:
        yield from reasons_of_permissions(now, before, then, after)


def reasons_of_permissions(now: Accounts, before: Account, then: Accounts, after: Account) -> Iterator[Reason]:
    """Each permission that is new to the account, under the first group that gives it."""
    new = then.permissions(after) - now.permissions(before)
    for name in sorted(after.groups):
        gained = then.groups.get(name, frozenset()) & new
        if gained:
            cause = Cause.GROUP_GAINS if name in before.groups else Cause.JOINS
            yield Reason(cause=cause, subject=name, permissions=names_of(gained))
        new -= gained
    if new:
        yield Reason(cause=Cause.GRANTED, permissions=names_of(new))


def names_of(permissions: Permissions) -> tuple[str, ...]:
    return tuple(sorted(map(str, permissions)))


# --- For users ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Section:
    """Accounts that have something in common. `grave`: only an administrator may confirm it in the admin."""

    heading: str
    lines: tuple[str, ...]
    grave: bool = False

    @property
    def first(self) -> tuple[str, ...]:
        """The lines that a page shows first; the others are in `more`."""
        return self.lines[:SHOWN_AT_FIRST]

    @property
    def more(self) -> tuple[str, ...]:
        return self.lines[SHOWN_AT_FIRST:]


def sections(change: RightsChange) -> list[Section]:
    """All changes, the grave ones first."""
    others = tuple(gain for gain in change.returning if not gain.reasons)
    numbers = tuple(
        f"rows of ID {one.key} now belong to {one.now} and will belong to {one.then}" for one in change.replaced
    )
    found = [
        grave(change.raised, "user will get more permissions", "users will get more permissions"),
        grave(change.revived, "deactivated user will become active", "deactivated users will become active"),
        grave(
            change.returning_with_rights,
            "user will be restored, with permissions",
            "users will be restored, with permissions",
        ),
        plain(
            tuple(gain.name if gain.active else f"{gain.name} (deactivated)" for gain in others),
            "user will be restored, without permissions",
            "users will be restored, without permissions",
        ),
        plain(change.removed, "user will be removed", "users will be removed"),
        plain(numbers, "user ID will change its owner", "user IDs will change their owners"),
        plain(change.passwords, "user will get a different password", "users will get different passwords"),
    ]
    return [section for section in found if section.lines]


def grave(gains: tuple[Gain, ...], one: str, many: str) -> Section:
    lines = tuple(f"{gain.name}: {gain.description}" for gain in gains)
    return Section(heading=pluralize(len(lines), one, many), lines=lines, grave=True)


def plain(lines: tuple[str, ...], one: str, many: str) -> Section:
    return Section(heading=pluralize(len(lines), one, many), lines=lines)
