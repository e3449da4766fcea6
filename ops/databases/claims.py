"""The record of databases that an operation creates. It is kept next to the backups, where no dump can write."""

from collections.abc import Collection
from typing import Protocol


class Claims(Protocol):
    """Records names of databases. `target` is the database for which they are created, '' the live database."""

    def claim_database(self, name: str, *, target: str = "") -> None:
        """Record a name before a database gets it: a later operation drops what a killed one left. Raises OpsError."""

    def leave_database(self, name: str, *, target: str = "") -> None:
        """Record that a claimed database could not be dropped: a later operation drops it."""

    def left_databases(self, target: str) -> Collection[str]:
        """Databases that earlier operations for `target` claimed or left. The caller holds the lock of `target`."""

    def clear_left_databases(self, target: str) -> None:
        """Record that they have been dropped, or are not ours."""


class NoClaims(Claims):
    """Claims that are not recorded: what an operation leaves behind is never dropped by a later one."""

    def claim_database(self, name: str, *, target: str = "") -> None:
        """Record nothing."""

    def leave_database(self, name: str, *, target: str = "") -> None:
        """Record nothing."""

    def left_databases(self, target: str) -> Collection[str]:  # noqa: ARG002
        return ()

    def clear_left_databases(self, target: str) -> None:
        """Record nothing."""


NO_CLAIMS = NoClaims()
