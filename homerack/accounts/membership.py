"""Records changes of users' groups, which Django writes into a table of its own."""

from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, pre_delete

from homerack.accounts.models import User
from homerack.history.tracking import changes_between, record, stored_states


def connect() -> None:
    m2m_changed.connect(record_membership, sender=User.groups.through, dispatch_uid="record_membership")
    pre_delete.connect(remember_members, sender=Group, dispatch_uid="remember_members")
    post_delete.connect(record_members, sender=Group, dispatch_uid="record_members")


def record_membership(
    instance: Any,
    action: str,
    *,
    reverse: bool,
    pk_set: set[Any] | None,
    using: str,
    **_options: Any,
) -> None:
    """Before and after groups are added, removed or cleared. `reverse`: `instance` is the group."""
    if not reverse:
        users: Any = [instance.pk]
    else:
        users = pk_set if pk_set is not None else members(instance, using)
    if action.startswith("pre_"):
        instance._members_before = stored_states(User, users, using=using)  # noqa: SLF001
    else:
        record_after(instance, using)


def remember_members(instance: Group, using: str, **_options: Any) -> None:
    instance._members_before = stored_states(User, members(instance, using), using=using)  # type: ignore[attr-defined]  # noqa: SLF001


def record_members(instance: Group, using: str, **_options: Any) -> None:
    record_after(instance, using)


def record_after(instance: Any, using: str) -> None:
    before = instance.__dict__.pop("_members_before")
    with transaction.atomic(using=using, savepoint=False):
        record(User, changes_between(before, stored_states(User, [*before], using=using)), using=using)


def members(group: Group, using: str) -> list[int]:
    return list(User._default_manager.using(using).filter(groups=group).values_list("pk", flat=True))
