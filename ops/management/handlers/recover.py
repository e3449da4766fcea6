"""What ``manage.py recover`` does: calls `ops.operations.recover`."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from ops import operations
from ops.backups.locations.location import Location
from ops.backups.locations.selection import FoundBackup, require_good
from ops.backups.restore_checks import require_restorable
from ops.backups.sources import from_location
from ops.conf import setting_name
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.management import recovery
from ops.management import recovery_output as output
from ops.management.base import ConfirmationDeclined
from ops.management.execution import document_of, execute, new_run, prompt
from ops.models import Run
from ops.runs.context import OpsContext, get_context
from ops.runs.descriptions import ENGINES
from ops.runs.executor import rebuild_index
from ops.utils.formatting import join_names


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    context = get_context()
    if not options["list"]:
        operations.require_empty(context.engine)
    settings = recovery.with_credentials(console, recovery.find_settings(options))
    kit = recovery.Kit.read(options["identity_file"])
    location, found, kit = recovery.open_location(console, settings, kit)
    output.show_found(console, location, found, most=None if options["list"] else 10)
    if options["list"]:
        return output.found_as_json(location, found), 0
    candidates = choose(console, location, found, options)
    require_recoverable(context, location, candidates[0], untrusted=options["untrusted"])
    output.show_choice(console, location, found, candidates[0], where=context.engine.where)
    if not options["yes"] and prompt(console, "To recover it, type yes: ").lower() != "yes":
        raise ConfirmationDeclined("Not confirmed. Nothing was changed.")
    run = new_run(Run.Kind.RESTORE, recovered_from=location.where, untrusted=options["untrusted"])
    objects = {"location": location, "found": found, "candidates": candidates, "kit": kit.recipient}
    result = execute(console, operations.recover, context, run, **objects)
    rebuild_index(context)
    output.show_recovered(console, result, where=context.engine.where)
    return document_of(run, result), 0


def choose(
    console: Console, location: Location, found: Sequence[FoundBackup], options: dict[str, Any]
) -> list[FoundBackup]:
    """The backups to try, the best first. Raises PreconditionFailed."""
    if options["backup"]:
        return [named(found, options["backup"])]
    recovery.require_signing_key(location, found)
    good = require_good(found, location)
    databases = list(dict.fromkeys(backup.database for backup in good))
    labels = {f"{name} ({ENGINES.get(engine, engine)})": (engine, name) for engine, name in databases}
    wanted = [label for label in labels if options["database"] in {label, labels[label][1]}]
    if not options["database"]:
        wanted = list(labels) if len(labels) == 1 else [ask_database(console, location, labels, good)]
    if len(wanted) != 1:
        raise PreconditionFailed(
            f"{location.where} has no good backup of one database {options['database']!r}. Nothing was changed.",
            f"Databases: {join_names(list(labels))}.",
        )
    return [backup for backup in good if backup.database == labels[wanted[0]]]


def ask_database(
    console: Console, location: Location, labels: dict[str, tuple[str, str]], good: Sequence[FoundBackup]
) -> str:
    """Raises PreconditionFailed without a terminal."""
    if not sys.stdin.isatty():
        raise PreconditionFailed(
            f"{location.where} has backups of several databases: {join_names(list(labels))}. Nothing was changed.",
            f"Choose one: --database '{next(iter(labels))}'",
        )
    console.print("\nThese are backups of several databases:")
    for number, (label, database) in enumerate(labels.items(), start=1):
        backups = [backup for backup in good if backup.database == database]
        console.print(escape(f"  {number}  {label}: {output.describe_group(backups)}"), soft_wrap=True)
    answer = prompt(console, f"Which one? Type 1 to {len(labels)}: ")
    if not answer.isdecimal() or not 1 <= int(answer) <= len(labels):
        raise ConfirmationDeclined("No database was chosen. Nothing was changed.")
    return list(labels)[int(answer) - 1]


def named(found: Sequence[FoundBackup], name: str) -> FoundBackup:
    matches = [backup for backup in found if backup.name.startswith(name)]
    exact = [backup for backup in matches if backup.name == name]
    if len(exact or matches) == 1:
        return (exact or matches)[0]
    raise PreconditionFailed(
        f"There is no backup {name!r}." if not matches else f"More than one name begins with {name!r}.",
        "Give a name of the list: --list",
    )


def require_recoverable(context: OpsContext, location: Location, chosen: FoundBackup, *, untrusted: bool) -> None:
    """Raises ArtifactInvalid or PreconditionFailed for what this machine cannot restore, before anything is written."""
    manifest = chosen.record.require_file()
    if manifest.engine != context.engine.kind:
        theirs, ours = ENGINES.get(manifest.engine, manifest.engine), ENGINES[context.engine.kind]
        address = "postgres://USER:PASSWORD@HOST:5432/NAME, an empty database"
        hint = f"Set {setting_name('DATABASES')} to {address}, and run the command again."
        if manifest.engine == "sqlite":
            hint = (
                f"Set {setting_name('DATABASES')} to sqlite:///db.sqlite3, and run the command again. Afterwards"
                " manage.py migrate_to_postgres migrates to PostgreSQL."
            )
        raise ArtifactInvalid(
            f"{chosen.name} is a backup of {theirs}, and the database of this machine is {ours}. Nothing was changed.",
            hint,
        )
    require_restorable(from_location(location, chosen.record), engine=context.engine, untrusted=untrusted)
