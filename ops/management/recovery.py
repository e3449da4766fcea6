"""What `manage.py recover` needs from a person: an address, credentials for it, and the keys of the recovery kit."""

import getpass
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from rich.console import Console

from ops.backups.encryption import NoKeyOpens, recipient_of
from ops.backups.locations.location import (
    EXAMPLES,
    S3,
    SFTP,
    UNNAMED,
    Location,
    LocationSettings,
    read_entry,
    read_settings,
)
from ops.backups.locations.selection import FoundBackup, find_backups
from ops.backups.repository import MANIFEST
from ops.backups.signing import Trust
from ops.conf import conf
from ops.errors import OpsError, PreconditionFailed
from ops.management.base import ConfirmationDeclined
from ops.management.execution import prompt
from ops.runs.context import location_to_recover_from
from ops.utils.formatting import join_names

OPTIONS = {
    "HOST_KEY": "--host-key",
    "IDENTITY_FILE": "--ssh-identity-file",
    "PASSWORD": "the password that was typed",
    "…": "--endpoint, --region, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
}
"""What its options are called, by the end of the name of the variable that a configured location has."""
SECRET_KEY = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]+")
SIGNING_KEY = "BACKUP_SIGNING_KEY="
ATTEMPTS = 3
TRIED = 10
"""Manifests that are tried before a key counts as the wrong one: some may be damaged."""


@dataclass(frozen=True)
class Kit:
    """The keys of a recovery kit that were given to this command. They are stored nowhere."""

    secret_keys: tuple[str, ...] = field(default=(), repr=False)
    signing_keys: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def read(cls, file: str) -> "Kit":
        """From a file, or from standard input for ``-``: the secret key, and a line ``BACKUP_SIGNING_KEY=…``."""
        if not file:
            return cls()
        try:
            text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PreconditionFailed(
                f"{file} cannot be read ({type(error).__name__}). Nothing was changed.",
                "--identity-file takes a text file with the secret key of the recovery kit.",
            ) from error
        kit = (
            cls()
            .with_secret_key(text)
            .with_signing_key(
                " ".join(line for line in text.splitlines() if line.strip().startswith("BACKUP_SIGNING_KEY"))
            )
        )
        if kit == cls():
            raise PreconditionFailed(
                f"There is no key in {'the standard input' if file == '-' else file}. Nothing was changed.",
                "The secret key of the recovery kit begins with AGE-SECRET-KEY-1.",
            )
        return kit

    def with_secret_key(self, text: str) -> "Kit":
        """With the keys in `text`, which may be typed in groups and in small letters. Raises PreconditionFailed."""
        lines = [line for line in text.upper().splitlines() if not line.lstrip().startswith("#")]
        found = [match for line in lines for match in SECRET_KEY.findall(re.sub(r"\s", "", line))]
        for key in found:
            require_secret_key(key)
        return Kit((*found, *self.secret_keys), self.signing_keys)

    def with_signing_key(self, text: str) -> "Kit":
        """With the keys in `text`, which may be lines of the kit with the names of the variables."""
        words = (word.removeprefix("BACKUP_SIGNING_KEY_FALLBACKS=").removeprefix(SIGNING_KEY) for word in text.split())
        return Kit(self.secret_keys, (*filter(None, words), *self.signing_keys))

    @property
    def recipient(self) -> str:
        """The public key of the kit; '' without a secret key."""
        return recipient_of(self.secret_keys[0]) if self.secret_keys else ""


def require_secret_key(key: str) -> None:
    try:
        recipient_of(key)
    except PreconditionFailed:
        raise PreconditionFailed(
            "This is not a secret key of a recovery kit: a character is wrong or missing. Nothing was changed.",
            "It has 74 characters and begins with AGE-SECRET-KEY-1.",
        ) from None


# --- The address --------------------------------------------------------------------------------------------------


def find_settings(options: dict[str, Any]) -> LocationSettings:
    """The location that was named, or whose address was given. Raises PreconditionFailed."""
    known = read_settings(conf.BACKUP_LOCATIONS)
    settings = choose_settings(options["location"], known)
    changes = {name: options[name] for name in ("host_key", "endpoint", "region") if options[name]}
    if options["ssh_identity_file"]:
        changes["identity_file"] = options["ssh_identity_file"]
    return msgspec.structs.replace(settings, **changes)


def choose_settings(wanted: str, known: Sequence[LocationSettings]) -> LocationSettings:
    if not wanted and len(known) == 1:
        return known[0]
    names = join_names([settings.name for settings in known])
    if not wanted:
        raise PreconditionFailed(
            "It is not known where the backups are. Nothing was changed.",
            f"Give a name of BACKUP_LOCATIONS ({names}): --location NAME"
            if known
            else "Give the address, which is on the recovery kit: manage.py recover --from ADDRESS. It is like "
            + EXAMPLES,
        )
    for settings in known:
        if wanted in {settings.name, settings.url} or settings.url.rstrip("/") == wanted.rstrip("/"):
            return settings
    if "/" in wanted:
        return read_entry({"name": UNNAMED, "url": absolute(wanted)}, "--from")
    raise PreconditionFailed(
        f"There is no storage location {wanted!r} in BACKUP_LOCATIONS. Nothing was changed.",
        f"Names: {names}." if known else f"Give its address instead: {EXAMPLES}.",
    )


def absolute(address: str) -> str:
    return address if "://" in address else str(Path(address).expanduser().absolute())


# --- Credentials ----------------------------------------------------------------------------------------------------


def with_credentials(console: Console, settings: LocationSettings) -> LocationSettings:
    """Ask for what a server needs and was not given: a host key is confirmed; a password or keys are typed."""
    if settings.type == S3 and is_terminal() and not (settings.access_key or has_bucket_keys()):
        console.print(f"There are no keys for {settings.url}.", soft_wrap=True, markup=False)
        access_key = ask_secret("Access key (not shown): ")
        secret_key = ask_secret("Secret key (not shown): ")
        return msgspec.structs.replace(settings, access_key=access_key, secret_key=secret_key)
    if settings.type != SFTP:
        return settings
    from ops.backups.storage import ssh  # noqa: PLC0415  # a large library

    if not settings.host_key and is_terminal():
        settings = msgspec.structs.replace(settings, host_key=confirm_host_key(console, settings))
    has_key = settings.identity_file or any((Path.home() / ".ssh" / name).exists() for name in ssh.DEFAULT_KEYS)
    if not has_key and not settings.password and is_terminal():
        settings = msgspec.structs.replace(settings, password=ask_secret(f"Password for {settings.url}: "))
    return settings


def has_bucket_keys() -> bool:
    """Whether the environment of this command, or the account, has keys for S3."""
    import boto3  # noqa: PLC0415  # a large library

    return boto3.Session().get_credentials() is not None


def confirm_host_key(console: Console, settings: LocationSettings) -> str:
    """The host key that the server shows, if the user says that it is the right one."""
    from ops.backups.storage.sftp_server import offered_host_key  # noqa: PLC0415

    parts = urlsplit(settings.url)
    key = offered_host_key(parts.hostname or "", parts.port or 22)
    for line in (
        "The server shows this host key, which is not known here:",
        f"  {key.text}",
        f"  {key.fingerprint}",
        "Compare it with the one on the recovery kit. A wrong one means that another machine answers.",
    ):
        console.print(line, soft_wrap=True, markup=False)
    if prompt(console, "Is it the right one? Type yes: ").lower() != "yes":
        raise ConfirmationDeclined("The host key was not confirmed. Nothing was changed.")
    return key.text


def explain(error: OpsError) -> OpsError:
    """The same error with the options of this command, where it names variables of a location that has none."""
    message, hint = error.message, error.hint
    for end, option in OPTIONS.items():
        variable = f"BACKUP_LOCATION_{UNNAMED.upper()}_{end}"
        message, hint = message.replace(variable, option), hint.replace(variable, option)
    return type(error)(message, hint)


# --- Keys -----------------------------------------------------------------------------------------------------------


def open_location(console: Console, settings: LocationSettings, kit: Kit) -> tuple[Location, list[FoundBackup], Kit]:
    """The location, the backups in it, and the keys that open and verify them, which a user is asked for."""
    location = connect(settings, kit)
    for attempt in range(ATTEMPTS + 1):
        if not location.encrypted or opens(location):
            break
        kit = ask_secret_key(console, location, kit, attempt)
        location = connect(settings, kit)
    found = find_backups(location)
    for _attempt in range(ATTEMPTS):
        if not needs_signing_key(found) or not is_terminal():
            break
        console.print(
            "The backups are signed with a key that is not known here. It is on the recovery kit.", soft_wrap=True
        )
        typed = ask_secret("Signing key (BACKUP_SIGNING_KEY), or nothing to go on without: ")
        if not typed:
            break
        kit = kit.with_signing_key(typed)
        location = connect(settings, kit)
        found = find_backups(location)
    return location, found, kit


def connect(settings: LocationSettings, kit: Kit) -> Location:
    try:
        return location_to_recover_from(settings, secret_keys=kit.secret_keys, signing_keys=kit.signing_keys)
    except PreconditionFailed as error:
        raise explain(error) from error


def opens(location: Location) -> bool:
    """Whether the keys open one of the newest manifests; True for a location without any."""
    repository = location.repository
    names = repository.names(repository.files.names())[:TRIED]
    return not names or any(is_readable(location, name + MANIFEST) for name in names)


def is_readable(location: Location, name: str) -> bool:
    try:
        location.repository.files.document(name)
    except NoKeyOpens:
        return False
    except (OpsError, FileNotFoundError):
        # Damaged, or deleted meanwhile: it says nothing about the key.
        return False
    return True


def ask_secret_key(console: Console, location: Location, kit: Kit, attempt: int) -> Kit:
    """Raises PreconditionFailed without a terminal, and after too many attempts."""
    what = "The key that was given opens no backup in" if kit.secret_keys else "No key here opens the backups in"
    if not is_terminal() or attempt == ATTEMPTS:
        raise PreconditionFailed(
            f"{what} {location.where}. Nothing was changed.",
            "Take the secret key of the recovery kit (AGE-SECRET-KEY-1…): run the command in a terminal, which asks for"
            " it, or write it into a file: --identity-file FILE",
        )
    console.print(f"{what} {location.where}: they are encrypted.", soft_wrap=True, markup=False)
    try:
        return kit.with_secret_key(ask_secret("Secret key of the recovery kit (AGE-SECRET-KEY-1…, not shown): "))
    except PreconditionFailed as error:
        console.print(str(error), style="yellow", soft_wrap=True, markup=False)
        return kit


def needs_signing_key(found: Iterable[FoundBackup]) -> bool:
    trusts = {backup.record.trust for backup in found}
    return Trust.FOREIGN in trusts and Trust.SIGNED not in trusts


def require_signing_key(location: Location, found: Iterable[FoundBackup]) -> None:
    """Raises PreconditionFailed where no backup has the signature of a known key."""
    if needs_signing_key(found):
        raise PreconditionFailed(
            f"No key here has signed the backups in {location.where}: whether they are yours is not known. Nothing was"
            " changed.",
            "Take the signing key of the recovery kit: run the command in a terminal, which asks for it, or write the"
            " line BACKUP_SIGNING_KEY=… into the file of --identity-file. Without it, --backup NAME --untrusted"
            " recovers only the rows of the tables.",
        )


def is_terminal() -> bool:
    return sys.stdin.isatty()


def ask_secret(question: str) -> str:
    """A line that is typed without being shown."""
    try:
        return getpass.getpass(question).strip()
    except EOFError:
        raise ConfirmationDeclined("Nothing was typed. Nothing was changed.") from None
