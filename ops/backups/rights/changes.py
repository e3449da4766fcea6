"""Who may do more after a restore than today: two sets of accounts, compared name by name.

An account is the same one when its primary key and its name are. Rights are what Django's ModelBackend gives: an
account that is not active has none, a superuser has all, everyone else has the permissions that were granted to the
account and those of its groups. Groups are compared by name, permissions by app, model and codename, because their
numbers differ from database to database.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ops.utils.formatting import join_names, pluralize

MOST_PERMISSIONS_NAMED = 5
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

    `superuser`: it has every permission. `marks` are other values of its row that give rights, in words, such as
    "access to the admin site". `groups` are names, `own` the permissions that were granted to it directly.
    """

    key: str
    name: str
    password: str | None = None
    active: bool = True
    superuser: bool = False
    marks: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    own: Permissions = frozenset()


NOBODY = Account(key="", name="")


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """The accounts of one database, and the permissions that each of its groups carries."""

    accounts: Collection[Account] = ()
    groups: Mapping[str, Permissions] = field(default_factory=dict)

    def permissions(self, account: Account) -> Permissions:
        """What it may do without being a superuser."""
        return account.own.union(*(self.groups.get(name, frozenset()) for name in account.groups))


class Cause(StrEnum):
    """Why an account has a right that it does not have today."""

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
    def words(self) -> str:
        """A noun phrase that follows "gets"."""
        match self.cause:
            case Cause.SUPERUSER:
                return "all permissions (superuser)"
            case Cause.MARK:
                return self.subject
            case Cause.JOINS:
                return f"the {self.subject} with {self._permissions}"
            case Cause.GROUP_GAINS:
                return f"{self._permissions} that the {self.subject} does not have now"
        return f"{self._permissions} granted directly"

    @property
    def _permissions(self) -> str:
        return (
            f"{pluralize(len(self.permissions), 'permission')} ({join_names(self.permissions, MOST_PERMISSIONS_NAMED)})"
        )


@dataclass(frozen=True, kw_only=True)
class Gain:
    """An account, and what it gets that it does not have today."""

    name: str
    reasons: tuple[Reason, ...]
    active: bool = True

    @property
    def words(self) -> str:
        """Its rights in words, or that it has none."""
        if not self.active:
            return "deactivated"
        return "; ".join(reason.words for reason in self.reasons) or "no permissions"


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """The account of the number `key` belongs to `then` instead of `now`, and with it all that refers to the number."""

    key: str
    now: str
    then: str


@dataclass(frozen=True, kw_only=True)
class RightsChange:
    """What becomes of accounts and rights, by name. `unknown` says why they could not be compared, or is ''.

    `raised` are active now and then. `revived` are not active today. `returning` do not exist today; those among them
    that stay inactive have no rights.
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
        """Whether it raises rights or revives an account, or might."""
        return bool(self.unknown or self.raised or self.revived or self.returning_with_rights)

    @property
    def gaining(self) -> tuple[str, ...]:
        """The names of those who may do more than today."""
        return tuple(gain.name for gain in (*self.raised, *self.revived, *self.returning_with_rights))


def compare(now: Accounts, then: Accounts) -> RightsChange:
    """What changes for whom when `then` takes the place of `now`. Names are sorted."""
    ours = {(account.key, account.name): account for account in now.accounts}
    theirs = {(account.key, account.name): account for account in sorted(then.accounts, key=by_name)}
    stay = [(ours[key], account) for key, account in theirs.items() if key in ours]
    new = [account for key, account in theirs.items() if key not in ours]
    gone = {account.key: account for key, account in ours.items() if key not in theirs}
    gains = [(before, gain(now, before, then, after)) for before, after in stay]
    return RightsChange(
        raised=tuple(found for before, found in gains if before.active and found.reasons),
        revived=tuple(found for before, found in gains if found.active and not before.active),
        returning=tuple(gain(now, NOBODY, then, after) for after in new),
        passwords=tuple(after.name for before, after in stay if before.password != after.password),
        removed=tuple(sorted(account.name for account in gone.values())),
        replaced=tuple(
            Replaced(key=after.key, now=gone[after.key].name, then=after.name) for after in new if after.key in gone
        ),
    )


def by_name(account: Account) -> tuple[str, str]:
    return account.name, account.key


def gain(now: Accounts, before: Account, then: Accounts, after: Account) -> Gain:
    return Gain(name=after.name, active=after.active, reasons=tuple(reasons(now, before, then, after)))


def reasons(now: Accounts, before: Account, then: Accounts, after: Account) -> Iterator[Reason]:
    """The rights that `after` has and `before` has not."""
    if not after.active:
        return
    if not before.active:
        before = NOBODY
    if after.superuser and not before.superuser:
        yield Reason(cause=Cause.SUPERUSER)
    for mark in sorted(after.marks - before.marks):
        yield Reason(cause=Cause.MARK, subject=mark)
    if not after.superuser and not before.superuser:
        yield from reasons_of_permissions(now, before, then, after)


def reasons_of_permissions(now: Accounts, before: Account, then: Accounts, after: Account) -> Iterator[Reason]:
    """Each permission that is new to the account, under the first of what gives it."""
    new = then.permissions(after) - now.permissions(before)
    for name in sorted(after.groups):
        gained = then.groups.get(name, frozenset()) & new
        if gained:
            cause = Cause.GROUP_GAINS if name in before.groups else Cause.JOINS
            yield Reason(cause=cause, subject=name, permissions=spelled(gained))
        new -= gained
    if new:
        yield Reason(cause=Cause.GRANTED, permissions=spelled(new))


def spelled(permissions: Permissions) -> tuple[str, ...]:
    return tuple(sorted(map(str, permissions)))


# --- In words -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Section:
    """Accounts that have something in common. `grave`: only an administrator may confirm it in the admin."""

    heading: str
    lines: tuple[str, ...]
    grave: bool = False

    @property
    def first(self) -> tuple[str, ...]:
        """What a page shows before it is asked for `more`."""
        return self.lines[:SHOWN_AT_FIRST]

    @property
    def more(self) -> tuple[str, ...]:
        return self.lines[SHOWN_AT_FIRST:]


def sections(change: RightsChange) -> list[Section]:
    """Everything that a change names, the grave first."""
    others = tuple(gain for gain in change.returning if not gain.reasons)
    numbers = tuple(f"{one.key}: {one.now} now, {one.then} afterwards" for one in change.replaced)
    found = [
        grave(change.raised, "user gets more permissions", "users get more permissions"),
        grave(change.revived, "deactivated user becomes active", "deactivated users become active"),
        grave(
            change.returning_with_rights,
            "user is restored with permissions",
            "users are restored with permissions",
        ),
        plain(
            tuple(gain.name if gain.active else f"{gain.name} (deactivated)" for gain in others),
            "user is restored without permissions",
            "users are restored without permissions",
        ),
        plain(change.removed, "user is removed", "users are removed"),
        plain(
            numbers,
            "user ID belongs to another user afterwards, with all rows that refer to it",
            "user IDs belong to other users afterwards, with all rows that refer to them",
        ),
        plain(change.passwords, "user gets a different password", "users get different passwords"),
    ]
    return [section for section in found if section.lines]


def grave(gains: tuple[Gain, ...], one: str, many: str) -> Section:
    lines = tuple(f"{gain.name}: {gain.words}" for gain in gains)
    return Section(heading=pluralize(len(lines), one, many), lines=lines, grave=True)


def plain(lines: tuple[str, ...], one: str, many: str) -> Section:
    return Section(heading=pluralize(len(lines), one, many), lines=lines)
