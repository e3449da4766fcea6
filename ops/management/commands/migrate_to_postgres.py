"""``manage.py migrate_to_postgres``: calls `ops.operations.migrate`."""

from pathlib import Path

from django.core.management.base import CommandParser

from ops.management.migration import MigrationCommand


class Command(MigrationCommand):
    handler = "ops.management.handlers.migrate_to_postgres"
    help = (
        "Migrate a SQLite file to PostgreSQL, all or nothing. Every value is checked before anything is written. The"
        " rows are copied into a staging database and compared with the file; then it replaces the empty target. A dry"
        " run does the same except for the last step, and takes as long."
    )
    examples = """
  Check the file and show the plan; POSTGRES_URL is set to postgres://me:secret@db/mydatabase:
    manage.py migrate_to_postgres --sqlite-path db.sqlite3 --dry-run
  The same with the address in a file, or with the password in ~/.pgpass:
    manage.py migrate_to_postgres --sqlite-path db.sqlite3 --postgres-url-file /run/secrets/postgres_url --dry-run
    manage.py migrate_to_postgres --sqlite-path db.sqlite3 --postgres-url postgres://me@db/mydatabase --dry-run
  Migrate, from a script:
    manage.py migrate_to_postgres --sqlite-path db.sqlite3 --yes --json result.json
  Migrate all other rows, and write refused ones to files to fix them:
    manage.py migrate_to_postgres --sqlite-path db.sqlite3 --quarantine refused/
"""
    postgres_role = "target"
    scratch = "database"

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--sqlite-path", type=Path, metavar="FILE", help="the file to migrate (default: the live SQLite database)")
        super().add_arguments(parser)
        add("--no-backup", action="store_true", help="do not keep a verified copy of the file")
        add("--strip-nul", action="store_true", help="remove NUL characters from text, which PostgreSQL cannot store")
        add(
            "--media-dir",
            type=Path,
            metavar="DIR",
            help="the uploads directory of the other program that wrote the file: names the files that are not there",
        )
        add(
            "--source-timezone",
            metavar="Z",
            help="time zone of times without an offset (default: the one in which Django reads them, usually UTC)",
        )
