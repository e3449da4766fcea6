"""Checks before a restore or an undo begins: trust, kind of database, role, migrations."""

from ops.backups.engines.base import Engine
from ops.backups.manifest import Kind
from ops.backups.signing import Trust
from ops.backups.sources import RestoreSource
from ops.conf import setting_name
from ops.databases.migration_state import require_known
from ops.errors import ArtifactInvalid


def require_restorable(source: RestoreSource, *, engine: Engine, untrusted: bool) -> None:
    """All checks that need not read the file. Raises ArtifactInvalid or PreconditionFailed."""
    require_trust(source, untrusted=untrusted)
    require_engine(source.name, source.kind, engine)
    engine.require_writable()
    if not source.trusted:
        engine.require_ordinary_role()
    if source.manifest:
        require_known(source.manifest.migrations, source.name)


def require_trust(source: RestoreSource, *, untrusted: bool) -> None:
    """Raises ArtifactInvalid for an untrusted file, unless `untrusted` allows it and it was not tampered with."""
    match source.trust:
        case Trust.SIGNED:
            return
        case Trust.TAMPERED:
            raise ArtifactInvalid(
                f"The signature of {source.name} is not valid: the file was modified. The database is unchanged.",
                "Restore another backup. To load its rows all the same, copy the file elsewhere and name the copy:"
                " restore_database --backup-file FILE --untrusted",
            )
    if untrusted:
        return
    why = "is not signed" if source.trust is Trust.UNSIGNED else "was signed with an unknown key"
    raise ArtifactInvalid(
        f"{source.name} {why}, so its origin is unknown. Nothing was changed.",
        "If it was made here before the key was changed, add the old key to BACKUP_SIGNING_KEY_FALLBACKS. To restore"
        " its rows nevertheless, add --untrusted: the project's migrations create the tables, and nothing in the file"
        " is executed.",
    )


def require_engine(name: str, kind: Kind, engine: Engine) -> None:
    """Raises ArtifactInvalid for a backup of another kind of database."""
    if kind not in engine.kinds:
        theirs, ours = ("PostgreSQL", "SQLite") if engine.kind == "sqlite" else ("SQLite", "PostgreSQL")
        hint = f"Set {setting_name('DATABASES')} to a {theirs} database to restore it there."
        if theirs == "SQLite":
            hint = "Decompress it and migrate it: manage.py migrate_to_postgres --sqlite-path FILE"
        raise ArtifactInvalid(f"{name} is a {theirs} backup; this database is {ours}. Nothing was changed.", hint)
