"""Rights that a restore would raise."""

import itertools
from typing import Any

import pytest

from ops.backups.rights.changes import (
    Account,
    Accounts,
    Cause,
    Gain,
    Permission,
    Permissions,
    Reason,
    Replaced,
    RightsChange,
    compare,
    sections,
)

ADD = Permission("inventory", "device", "add_device")
DELETE = Permission("inventory", "device", "delete_device")
RESTORE = Permission("ops", "backup", "restore_backup")
STAFF = "access to the admin site"
GROUPS: dict[str, Permissions] = {
    "group Editors": frozenset({ADD, DELETE}),
    "group Viewers": frozenset({ADD}),
    "group Friends": frozenset(),
}


def someone(**changes: Any) -> Account:
    return Account(**{"key": "1", "name": "eve", "password": "hash", **changes})


def people(*accounts: Account, groups: dict[str, Permissions] | None = None) -> Accounts:
    return Accounts(accounts=accounts, groups=GROUPS if groups is None else groups)


def change(now: dict[str, Any], then: dict[str, Any], **groups: Any) -> RightsChange:
    """Of one account that has these values now and then."""
    return compare(people(someone(**now)), people(someone(**then), **groups))


def reasons(found: tuple[Gain, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
    (gain,) = found
    assert gain.name == "eve"
    return [(str(reason.cause), reason.subject, reason.permissions) for reason in gain.reasons]


@pytest.mark.parametrize(
    ("now", "then", "reason"),
    [
        ({}, {"superuser": True}, (Cause.SUPERUSER, "", ())),
        ({"groups": {"group Editors"}}, {"superuser": True}, (Cause.SUPERUSER, "", ())),
        ({}, {"marks": {STAFF}}, (Cause.MARK, STAFF, ())),
        ({"superuser": True}, {"marks": {STAFF}}, (Cause.MARK, STAFF, ())),
        ({}, {"own": {RESTORE}}, (Cause.GRANTED, "", ("ops.restore_backup",))),
        ({}, {"groups": {"group Viewers"}}, (Cause.JOINS, "group Viewers", ("inventory.add_device",))),
        (
            {"groups": {"group Viewers"}},
            {"groups": {"group Editors"}},
            (Cause.JOINS, "group Editors", ("inventory.delete_device",)),
        ),
        ({"own": {ADD}}, {"groups": {"group Editors"}}, (Cause.JOINS, "group Editors", ("inventory.delete_device",))),
    ],
)
def test_more_rights_need_an_administrator(
    now: dict[str, Any], then: dict[str, Any], reason: tuple[Cause, str, tuple[str, ...]]
) -> None:
    found = change(now, then)
    assert reasons(found.raised) == [reason]
    assert found.needs_administrator
    assert found.gaining == ("eve",)
    assert found == RightsChange(raised=found.raised)


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ({}, {}),
        ({"superuser": True}, {}),
        ({"superuser": True}, {"groups": {"group Editors"}, "own": {RESTORE}}),
        ({"marks": {STAFF}}, {}),
        ({"groups": {"group Editors"}}, {"groups": {"group Viewers"}}),
        ({"own": {ADD, DELETE}}, {"groups": {"group Editors"}}),
        ({"groups": {"group Editors"}}, {"own": {ADD}}),
        ({}, {"groups": {"group Friends"}}),
        ({}, {"active": False, "superuser": True, "marks": {STAFF}}),
        ({"active": False}, {"active": False, "superuser": True, "own": {ADD}}),
    ],
)
def test_fewer_or_equal_rights_need_no_administrator(now: dict[str, Any], then: dict[str, Any]) -> None:
    found = change(now, then)
    assert found == RightsChange()
    assert not found.needs_administrator


def test_group_with_a_new_permission_raises_its_members_only() -> None:
    member, other = someone(groups={"group Viewers"}), Account(key="2", name="bob")
    groups = {**GROUPS, "group Viewers": frozenset({ADD, RESTORE})}
    found = compare(people(member, other), people(member, other, groups=groups))
    assert reasons(found.raised) == [(Cause.GROUP_GAINS, "group Viewers", ("ops.restore_backup",))]
    assert "1 permission (ops.restore_backup), which the group Viewers will get" in found.raised[0].description


def test_permission_of_several_groups_is_named_once() -> None:
    found = change({}, {"groups": {"group Editors", "group Viewers"}, "own": {ADD, RESTORE}})
    assert reasons(found.raised) == [
        (Cause.JOINS, "group Editors", ("inventory.add_device", "inventory.delete_device")),
        (Cause.GRANTED, "", ("ops.restore_backup",)),
    ]


def test_permissions_with_one_codename_for_two_models_are_distinct() -> None:
    other = Permission("inventory", "rack", "add_device")
    assert reasons(change({"own": {ADD}}, {"own": {other}}).raised) == [
        (Cause.GRANTED, "", ("inventory.add_device",)),
    ]


@pytest.mark.parametrize(("rights", "words"), [({}, "no permissions"), ({"superuser": True}, "all permissions")])
def test_activated_account_needs_an_administrator(rights: dict[str, Any], words: str) -> None:
    found = change({"active": False, **rights}, {"active": True, **rights})
    assert [gain.name for gain in found.revived] == ["eve"]
    assert words in found.revived[0].description
    assert found.needs_administrator
    assert not found.raised


@pytest.mark.parametrize(
    ("account", "needed"),
    [
        ({}, False),
        ({"active": False, "superuser": True}, False),
        ({"groups": {"group Friends"}}, False),
        ({"marks": {STAFF}}, True),
        ({"own": {ADD}}, True),
        ({"groups": {"group Viewers"}}, True),
        ({"superuser": True}, True),
    ],
)
def test_restored_account_with_rights_needs_an_administrator(account: dict[str, Any], needed: bool) -> None:
    found = compare(people(), people(someone(**account)))
    assert [gain.name for gain in found.returning] == ["eve"]
    assert found.needs_administrator is needed
    assert found.gaining == (("eve",) if needed else ())


def test_different_passwords_are_named_and_need_no_administrator() -> None:
    found = change({"password": "old"}, {"password": "new"})
    assert found == RightsChange(passwords=("eve",))
    assert not found.needs_administrator


def test_another_name_with_the_same_key_is_another_account() -> None:
    now = someone(name="bob", superuser=True)
    found = compare(people(now), people(someone(name="eve", superuser=True)))
    assert found.replaced == (Replaced(key="1", now="bob", then="eve"),)
    assert found.removed == ("bob",)
    assert reasons(found.returning) == [(Cause.SUPERUSER, "", ())]
    assert found.needs_administrator


def test_same_name_with_another_key_is_another_account() -> None:
    found = compare(people(someone(superuser=True)), people(someone(key="9", superuser=True)))
    assert (found.removed, found.replaced) == (("eve",), ())
    assert [gain.name for gain in found.returning] == ["eve"]
    assert found.needs_administrator


def test_without_live_accounts_all_are_returning() -> None:
    found = compare(Accounts(), people(someone(superuser=True), Account(key="2", name="ada")))
    assert [gain.name for gain in found.returning] == ["ada", "eve"]
    assert found.gaining == ("eve",)


def test_unknown_rights_need_an_administrator() -> None:
    assert RightsChange(unknown="The live database is unreachable.").needs_administrator


def test_account_gains_only_if_its_effective_rights_grow() -> None:
    """A property over all pairs of a few accounts, compared with Django's rule."""

    def effective(account: Account) -> tuple[bool, frozenset[str], Permissions | None]:
        if not account.active:
            return False, frozenset(), frozenset()
        carried = frozenset().union(*(GROUPS[name] for name in account.groups)) | account.own
        return True, account.marks, None if account.superuser else carried

    world = [
        someone(
            active=active, superuser=superuser, marks=frozenset(marks), groups=frozenset(groups), own=frozenset(own)
        )
        for active, superuser, marks, groups, own in itertools.product(
            (True, False), (True, False), ((), (STAFF,)), ((), ("group Viewers",), ("group Editors",)), ((), (RESTORE,))
        )
    ]
    for now, then in itertools.product(world, world):
        (was, marks, had), (is_active, new_marks, has) = effective(now), effective(then)
        more = had is not None and (has is None or bool(has - had))
        grows = (is_active and not was) or bool(new_marks - marks) or more
        found = compare(people(now), people(then))
        assert found.needs_administrator is grows, (now, then)
        assert found.gaining == (("eve",) if grows else ())


def test_sections_have_the_sentences_of_the_page() -> None:
    many = tuple(f"app.permission_{number}" for number in range(7))
    gain = Gain(name="eve", reasons=(Reason(cause=Cause.GRANTED, permissions=many),))
    nothing = Gain(name="bob", reasons=())
    found = sections(
        RightsChange(
            raised=(gain,),
            revived=(nothing,),
            returning=(gain, nothing, Gain(name="old", reasons=(), active=False)),
            passwords=("zoe", "yan"),
            removed=("ada",),
            replaced=(Replaced(key="4", now="ada", then="old"),),
        )
    )
    words = (
        "7 permissions (app.permission_0, app.permission_1, app.permission_2, app.permission_3, app.permission_4"
        " and 2 more) granted directly"
    )
    assert [(section.heading, section.lines, section.grave) for section in found] == [
        ("1 user will get more permissions", (f"eve: {words}",), True),
        ("1 deactivated user will become active", ("bob: no permissions",), True),
        ("1 user will be restored, with permissions", (f"eve: {words}",), True),
        ("2 users will be restored, without permissions", ("bob", "old (deactivated)"), False),
        ("1 user will be removed", ("ada",), False),
        ("1 user ID will change its owner", ("rows of ID 4 now belong to ada and will belong to old",), False),
        ("2 users will get different passwords", ("zoe", "yan"), False),
    ]
