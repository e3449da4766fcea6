"""What a migration to PostgreSQL claims, recorded in the storage of the backups: no dump can write there."""

import contextlib
import uuid
from collections.abc import Collection, Iterator
from typing import Any

from django.core.files.storage import InvalidStorageError, storages
from django.utils import timezone

from ops.backups.configuration import catalogue_from_settings
from ops.backups.repository import BackupRepository
from ops.engine_migration.target import Claims
from ops.errors import OpsError
from ops.runs import event_format, event_log
from ops.runs.recorder import unrecorded


class Recorded:
    """Implements `ops.engine_migration.target.Claims` by events that have a ``target`` and nothing of a run's row.

    A migration whose claims do not end was killed, or could not drop what it had made.
    """

    def __init__(self, catalogue: BackupRepository, target: str) -> None:
        self._catalogue, self._target = catalogue, target
        self._id = str(uuid.uuid4())
        self._is_open = False
        self._killed: set[str] = set()

    def left_by_killed(self) -> Collection[str]:
        """See `ops.engine_migration.target.Claims`."""
        unended = self._catalogue.unended_events()
        found = [event for event in unended if event.get("target") == self._target]
        self._killed = {event["run"] for event in found}
        return event_log.databases_of(found)

    def settle_killed(self) -> None:
        """See `ops.engine_migration.target.Claims`."""
        for run in self._killed:
            self._record(event_format.ENDED, run)

    def claim_database(self, name: str) -> None:
        """See `ops.engine_migration.target.Claims`."""
        self._record(event_format.CLAIMED, self._id, claims_database=name)
        self._is_open = True

    def leave_database(self, name: str) -> None:  # noqa: ARG002  # it is among those that were claimed
        """See `ops.engine_migration.target.Claims`."""
        self._is_open = False

    def end(self) -> None:
        """Give the claims up. Never raises: the migration is over, and the next one finds no such databases."""
        if self._is_open:
            with contextlib.suppress(OpsError):
                self._record(event_format.ENDED, self._id)

    def _record(self, event: str, run: str, **fields: Any) -> None:
        common = {"event": event, "run": run, "when": timezone.now().isoformat(), "target": self._target}
        try:
            self._catalogue.record(common | fields)
        except OSError as error:
            raise unrecorded(error) from error


class Unrecorded:
    """For projects without a storage of backups: what a killed migration leaves has to be dropped by hand."""

    def left_by_killed(self) -> Collection[str]:
        """See `ops.engine_migration.target.Claims`."""
        return ()

    def settle_killed(self) -> None:
        """See `ops.engine_migration.target.Claims`."""

    def claim_database(self, name: str) -> None:
        """See `ops.engine_migration.target.Claims`."""

    def leave_database(self, name: str) -> None:
        """See `ops.engine_migration.target.Claims`."""


@contextlib.contextmanager
def recorded_claims(target: str) -> Iterator[Claims]:
    """The claims of the migration that the block does; `target` says which database on which server."""
    try:
        storages["backups"]
    except InvalidStorageError:
        yield Unrecorded()
        return
    claims = Recorded(catalogue_from_settings(), target)
    try:
        yield claims
    finally:
        claims.end()
