"""The record of databases that an operation creates, by which a later operation drops what a killed one left.

It is kept next to the backups, where no dump can write.
"""

from collections.abc import Collection


class Claims:
    """Records names of databases. `target` is the database for which they are created, '' the live database.

    This one records nothing: what is left behind is never dropped. `ops.runs.recorder.RunRecorder` does.
    """

    def mark_staging(self) -> None:
        """Write into what is "default", a staging database, that this operation has filled it."""

    def claim_database(self, name: str, *, target: str = "") -> None:
        """Record a name before a database gets it: a later operation drops what a killed one left. Raises OpsError."""

    def leave_database(self, name: str, *, target: str = "") -> None:
        """Record that a claimed database could not be dropped: a later operation drops it. Never raises."""

    def left_databases(self, target: str, names: Collection[str]) -> Collection[str]:  # noqa: ARG002
        """Those of `names` that earlier operations for `target` claimed. The caller holds the lock of `target`."""
        return ()

    def clear_left_databases(self, target: str) -> None:
        """Record that they have been dropped, or are not ours."""


NO_CLAIMS = Claims()
