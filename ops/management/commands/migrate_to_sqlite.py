"""``manage.py migrate_to_sqlite``: calls `ops.operations.migrate_to_sqlite`."""

from pathlib import Path

from django.core.management.base import CommandParser

from ops.management.migration import MigrationCommand


class Command(MigrationCommand):
    handler = "ops.management.handlers.migrate_to_sqlite"
    help = (
        "Migrate a PostgreSQL database to a new SQLite file, all or nothing: the way back from migrate_to_postgres with"
        " today's rows. Every value is checked before any row is copied. The rows are copied into a staging file and"
        " compared with the database; then the file gets its name. The database is only read. A dry run does the same"
        " except for the last step, and takes as long."
    )
    examples = """
  Check the live database, or the one in POSTGRES_URL, and show the plan:
    manage.py migrate_to_sqlite --sqlite-path new.db --dry-run
  Migrate another database, whose address is in a file, from a script:
    manage.py migrate_to_sqlite --sqlite-path new.db --postgres-url-file /run/secrets/url --yes --json result.json
  Migrate all other rows, and write refused ones to files:
    manage.py migrate_to_sqlite --sqlite-path new.db --quarantine refused/
"""
    postgres_role = "source"
    scratch = "file"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--sqlite-path", type=Path, metavar="FILE", required=True, help="the file to make; it must not exist"
        )
        super().add_arguments(parser)
