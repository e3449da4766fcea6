"""``manage.py recover``: calls `ops.operations.recover`."""

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand


class Command(OperationCommand):
    handler = "ops.management.handlers.recover"
    help = (
        "When everything is gone: restore the newest good backup of a storage location into the empty database of this"
        " machine, and bring the history back. It asks for the keys of the recovery kit. docs/recovering.md has the"
        " steps. Nothing is written to the location."
    )
    examples = """
  From an SFTP server, with the address on the recovery kit:
    manage.py recover --from sftp://backup@nas.example.org/lab
  From a storage location in BACKUP_LOCATIONS:
    manage.py recover --location nas
  Only show what is there:
    manage.py recover --from /mnt/disk/backups --list
"""
    interrupted = "Interrupted. The database is unchanged. Run the command again: it starts from the beginning."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add = parser.add_argument
        add(
            "--from",
            "--location",
            dest="location",
            default="",
            metavar="ADDRESS|NAME",
            help="where the backups are: /directory, sftp://user@host/path, s3://bucket/prefix, or a name in"
            " BACKUP_LOCATIONS (default: the only one there)",
        )
        add("--backup", default="", metavar="NAME", help="this backup instead of the newest good one")
        add("--database", default="", metavar="NAME", help="if the location has backups of several databases")
        add("--list", action="store_true", help="only show what is there")
        add("--yes", action="store_true", help="do not ask for confirmation")
        add(
            "--untrusted",
            action="store_true",
            help="with --backup: accept a backup without a valid signature; only the rows of its tables are loaded",
        )
        add(
            "--identity-file",
            default="",
            metavar="FILE",
            help="a file with the secret key of the recovery kit, and perhaps a line BACKUP_SIGNING_KEY=…; - for"
            " standard input (default: the command asks)",
        )
        add("--host-key", default="", metavar="KEY", help="SFTP: the server's host key, as on the recovery kit")
        add("--ssh-identity-file", default="", metavar="FILE", help="SFTP: the private key to sign in with")
        add("--endpoint", default="", metavar="URL", help="S3: the server, if it is not Amazon's")
        add("--region", default="", metavar="NAME", help="S3: the region")
