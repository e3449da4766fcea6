"""The record of databases that an operation creates, by which a later operation drops what a killed one left.

It is kept next to the backups, where no dump can write.
"""

from collections.abc import Collection


class Claims:
    """Records names of databases. `target` is the database for which they are created, '' the live database.

    This one records nothing: what is left behind is never dropped. `ops.runs.recorder.RunRecorder` does.
    """

    def mark_staging(self, database: str) -> None:
        """Write into what is "default", the staging database of `database`, that this operation has filled it."""

    def is_marked(self) -> bool:
        """Whether what is "default" has that mark, so that the cut-over was done. Raises Django's database errors."""
        return False

    def claim_database(self, name: str, *, target: str = "") -> None:
        """Record a name before a database gets it: a later operation drops what a killed one left. Raises OpsError."""

    def leave_database(self, name: str, *, target: str = "") -> None:
        """Record that a claimed database could not be dropped: a later operation drops it. Never raises."""

    def left_databases(self, names: Collection[str]) -> Collection[str]:  # noqa: ARG002
        """Those of `names`, which derive from that of one database, that earlier operations claimed for any target.

        The address of a target may be written in several ways. The caller holds the lock of the database.
        """
        return ()

    def clear_left_databases(self, target: str) -> None:
        """Record that they have been dropped, or are not ours."""


NO_CLAIMS = Claims()
