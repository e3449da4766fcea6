"""The record of the databases that an operation creates: kept next to the backups, where no dump can write."""

from collections.abc import Collection
from typing import Protocol


class Claims(Protocol):
    """`target` names the server and database for which another one is created; '' is the project's live database."""

    def claim_database(self, name: str, *, target: str = "") -> None:
        """Before it is created, or given that name. Should the operation be killed, a later one drops it. Raises
        OpsError.
        """

    def leave_database(self, name: str, *, target: str = "") -> None:
        """It was claimed and could not be dropped: a later operation drops it."""

    def left_databases(self, target: str) -> Collection[str]:
        """What earlier operations for `target` claimed or left. The caller holds the lock of that database."""

    def settle_left(self, target: str) -> None:
        """All of that has been dropped, or is not ours."""


class NoClaims:
    """Claims that are not kept: what an operation leaves behind is never dropped by a later one."""

    def claim_database(self, name: str, *, target: str = "") -> None:
        """See `Claims`."""

    def leave_database(self, name: str, *, target: str = "") -> None:
        """See `Claims`."""

    def left_databases(self, target: str) -> Collection[str]:  # noqa: ARG002
        """See `Claims`."""
        return ()

    def settle_left(self, target: str) -> None:
        """See `Claims`."""


NO_CLAIMS = NoClaims()
