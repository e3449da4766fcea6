"""A queued run starts only if the user who requested it still has the permission."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group

from homerack.accounts.models import User
from ops import tasks
from ops.models import Run
from ops.runs import authorization, executor
from tests.admin.support import add_run
from tests.support.slow import each_once

pytestmark = pytest.mark.django_db

WHO = "ada@example.com"
GROUPS = {
    Run.Kind.BACKUP: "Backup operators",
    Run.Kind.COPY: "Backup operators",
    Run.Kind.VERIFICATION: "Backup operators",
    Run.Kind.RESTORE_TEST: "Backup operators",
    Run.Kind.RESTORE: "Backup restorers",
    Run.Kind.UNDO: "Backup restorers",
    Run.Kind.DROP_PREVIOUS: "Backup restorers",
}
"""The group with the fewest permissions that may start it; other kinds are for administrators."""


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def remove_staff_status(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_staff=False)


def demote(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_superuser=False)
    user.groups.set(Group.objects.filter(name="Backup viewers"))


def rename(user: User) -> None:
    """To another case only: another user may have that name."""
    User.objects.filter(pk=user.pk).update(email=WHO.upper())


NO_USER = "this user no longer exists"
NO_ADMIN = "this user may no longer use the admin"
NO_PERMISSION = "this user no longer has the permission to start it"
LOSSES: dict[str, tuple[Callable[[User], object], str]] = {
    "deactivated": (deactivate, NO_ADMIN),
    "not staff": (remove_staff_status, NO_ADMIN),
    "deleted": (User.delete, NO_USER),
    "renamed": (rename, NO_USER),
    "demoted": (demote, NO_PERMISSION),
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs of any kind that the worker has started; their operations do nothing."""
    begun: list[Run] = []
    remember = lambda _context, run: begun.append(run)  # noqa: E731
    monkeypatch.setattr(executor, "OPERATIONS", dict.fromkeys(executor.OPERATIONS, remember))
    return begun


def user_for(kind: Run.Kind) -> User:
    """A user who may start it, with no more permissions than that takes."""
    user = User.objects.create_user(WHO, is_staff=True, is_superuser=kind not in GROUPS)
    user.groups.set(Group.objects.filter(name=GROUPS.get(kind)))
    return user


def queue(kind: Run.Kind, **arguments: Any) -> Run:
    return executor.queue(Run(kind=kind, requested_by=WHO, origin=Run.Origin.ADMIN, arguments=arguments))[0]


@pytest.mark.parametrize("kind", executor.OPERATIONS)
def test_queued_run_starts_when_user_still_has_the_permission(started: list[Run], kind: Run.Kind) -> None:
    user_for(kind)
    run = queue(kind)
    tasks.execute_run(str(run.pk))
    assert [request.id for request in started] == [run.pk]


@pytest.mark.parametrize(("kind", "loss"), each_once(list(executor.OPERATIONS), list(LOSSES)))
def test_queued_run_fails_when_user_lost_the_permission(
    started: list[Run], monkeypatch: pytest.MonkeyPatch, kind: Run.Kind, loss: str
) -> None:
    notified: list[Run] = []
    monkeypatch.setattr("ops.notifications.alerts.notify_runs", notified.extend)
    user = user_for(kind)
    run = queue(kind)
    lose, reason = LOSSES[loss]
    lose(user)
    tasks.execute_run(str(run.pk))
    assert started == []
    run.refresh_from_db()
    assert (run.status, run.error) == ("failed", f"{WHO} requested it, but {reason}. Nothing was changed.")
    assert run.finished_at
    assert notified == [run]


def test_restore_of_untrusted_file_fails_when_user_is_no_longer_administrator(started: list[Run]) -> None:
    user = user_for(Run.Kind.RESTORE)
    User.objects.filter(pk=user.pk).update(is_superuser=True)
    first = queue(Run.Kind.RESTORE, name="a.sql.gz", untrusted=True)
    tasks.execute_run(str(first.pk))
    assert len(started) == 1
    Run.objects.filter(pk=first.pk).update(status="succeeded")
    User.objects.filter(pk=user.pk).update(is_superuser=False)
    second = queue(Run.Kind.RESTORE, name="a.sql.gz", untrusted=True)
    tasks.execute_run(str(second.pk))
    assert len(started) == 1
    second.refresh_from_db()
    assert (second.status, NO_PERMISSION in second.error) == ("failed", True)


@pytest.mark.parametrize("origin", ["command", "schedule"])
def test_run_of_command_or_schedule_starts_without_a_user(started: list[Run], origin: str) -> None:
    run = add_run(status="queued", origin=origin, requested_by="root on lab")
    tasks.execute_run(str(run.pk))
    assert [request.id for request in started] == [run.pk]


def test_every_queueable_kind_is_covered_by_these_tests() -> None:
    assert set(authorization.PERMISSIONS) == set(GROUPS)
    assert set(GROUPS) < set(executor.OPERATIONS)


@pytest.mark.django_db(transaction=True)
def test_run_without_anything_to_do_is_marked_as_failed(settings: Any) -> None:
    user_for(Run.Kind.SQLITE_DELETION)
    run = queue(Run.Kind.SQLITE_DELETION)
    tasks.execute_run(str(run.pk))
    run.refresh_from_db()
    folder = settings.BACKUP_DIR / "sqlite"
    assert (run.status, run.error) == ("failed", f"There is no SQLite file in {folder}. Nothing was deleted.")
