"""A scratch database beside the live one, for roles that may create databases."""

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import IO

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.backups.engine import Tables
from ops.backups.manifest import Kind
from ops.backups.postgresql import digests, loader
from ops.backups.postgresql.dumps import plain_pieces
from ops.backups.postgresql.loader import Loader
from ops.backups.stages import Stage
from ops.django_databases import pointing_at
from ops.postgres.address import Address
from ops.postgres.tools import Tools
from ops.progress import Progress, Report


class Beside:
    """Implements `ops.backups.engine.Scratch`: a database of its own, which nobody else knows."""

    def __init__(self, address: Address, find: Callable[[], Tools]) -> None:
        self.name = address.database
        self.address = address
        self.kept = False
        self._find = find

    def load(self, stream: IO[bytes], *, kind: Kind, trusted: bool, report: Report) -> Mapping[str, int]:
        """See `ops.backups.engine.Scratch`."""
        pieces = plain_pieces(stream, kind=kind, find=self._find)
        with contextlib.closing(self._session()) as connection:
            load = Loader(connection, trusted=trusted, report=report)
            later = load.load(pieces)
            connection.commit()
        loader.build(self._session, later, report)
        report(Progress(stage=Stage.LOAD, item="ANALYZE"))
        with contextlib.closing(self.address.connect(autocommit=True)) as connection, connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        return load.rows

    def _session(self) -> Connection:
        connection = self.address.connect()
        loader.set_up(connection)
        return connection

    def tables(self, report: Report) -> Tables:
        """See `ops.backups.engine.Scratch`."""
        with contextlib.closing(self.address.connect()) as connection, connection.cursor() as cursor:
            return digests.read_digests(cursor, stage=Stage.COMPARE, report=report)

    def as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        """See `ops.backups.engine.Scratch`."""
        return pointing_at(self.address.wrapper())

    def keep(self) -> None:
        """See `ops.backups.engine.Scratch`."""
        self.kept = True
