"""An untrusted dump of PostgreSQL: surveyed, read and copied through a limited process."""

from collections.abc import Collection, Mapping
from pathlib import Path

from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.backups.engines.base import Columns, LoadedRows, Rows, Scratch, UntrustedFile
from ops.backups.engines.postgresql import dump_format
from ops.backups.engines.postgresql.database_swap import ScratchDatabase
from ops.backups.engines.postgresql.row_loader import RowLoader
from ops.backups.engines.postgresql.schema_swap import ScratchSchema
from ops.backups.manifest import Kind
from ops.backups.sources import RestoreSource
from ops.backups.untrusted import process
from ops.backups.untrusted.schema import natural_key_tables
from ops.databases.postgres.databases import has_server_access
from ops.errors import PreconditionFailed
from ops.utils.progress import ProgressCallback


class UntrustedDump(UntrustedFile):
    """Surveyed when it is created. Rows of the tables `excluded` are never copied."""

    def __init__(self, source: RestoreSource, *, tools_directory: Path | None, excluded: Collection[str]) -> None:
        self._source = source
        self._excluded = excluded
        pg_restore = ""
        if source.kind is Kind.CUSTOM:
            with source.opener() as stored:
                header = stored.read(dump_format.HEADER_SIZE)
            pg_restore = str(dump_format.find_reader(header, tools_directory).directory / "pg_restore")
        self._file = {"kind": str(source.kind), "pg_restore": pg_restore}
        self._limits = process.limits_for(source.size)
        with source.opener() as stored:
            found = process.call("survey_dump", limits=self._limits, feed=stored, **self._file)
        self.migrations = tuple(f"{app}.{name}" for app, name in found["migrations"])
        self.rows: Mapping[str, int] = found["rows"]

    def read_columns(self, columns: Columns) -> Mapping[str, Rows]:
        with self._source.opener() as stored:
            found = process.call("read_dump_columns", limits=self._limits, feed=stored, columns=columns, **self._file)
        return {table: [tuple(row) for row in rows] for table, rows in found.items()}

    def copy_rows(self, scratch: Scratch, *, on_progress: ProgressCallback) -> LoadedRows:
        if not isinstance(scratch, ScratchDatabase | ScratchSchema):
            raise TypeError(scratch)
        with (
            scratch.session() as connection,
            connection.cursor() as cursor,
            self._source.opener() as stored,
        ):
            loader = RowLoader(cursor, natural_key_tables(), self._excluded, on_progress)
            frames = process.run("copy_dump_rows", limits=self._limits, feed=stored, tables=loader.tables, **self._file)
            return loader.load(frames)


def require_ordinary_role(server: Connection) -> None:
    """Raises PreconditionFailed for a superuser: indexes and constraints execute expressions on untrusted rows."""
    if has_server_access(server):
        raise PreconditionFailed(
            "The role of the database is a superuser, or may run programs or read files on the server. Rows of an"
            " untrusted file are not loaded by such a role. Nothing was changed.",
            "Connect with an ordinary role that owns the database:"
            " CREATE ROLE … LOGIN CREATEDB PASSWORD '…'; ALTER DATABASE … OWNER TO …;",
        )
