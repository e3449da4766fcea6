"""The sheet of a recovery kit: what a person needs on paper when this machine is gone. It is shown once."""

import datetime as dt
import socket
from dataclasses import dataclass, field

import segno
from django.conf import settings
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from ops.backups.encryption import SUFFIX, recipient_of
from ops.backups.locations.location import LocationSettings, read_settings
from ops.backups.recovery_kit import NAME_LENGTH
from ops.conf import conf
from ops.errors import PreconditionFailed
from ops.runs.context import OpsContext
from ops.utils import clock

TEMPLATE = "ops/recovery_kit.html"
SECRET_OPTIONS = ("password", "identity_file", "access_key", "secret_key")
"""Options of a storage location of which the sheet has only the names of their variables."""
PUBLIC_OPTIONS = ("host_key", "endpoint", "region")
ASKED_NOT = ("endpoint", "region")
"""Options of `recover` that it does not ask for."""
EXAMPLES = {
    "postgresql": f"age -d -i key.txt NAME.sql.gz{SUFFIX} | gunzip | psql DATABASE",
    "sqlite": f"age -d -i key.txt NAME.sqlite3.gz{SUFFIX} | gunzip > lab.db",
}
"""How to open a backup without this software, by engine."""


@dataclass(frozen=True, kw_only=True)
class SheetLocation:
    """A storage location: its address without a password, what may be printed of its settings, and what may not."""

    name: str
    url: str
    variables: tuple[tuple[str, str], ...]
    """Names and values."""
    credentials: tuple[str, ...]
    """Names of variables that are needed and secret."""
    options: str = ""
    """What `recover` needs besides the address, and does not ask for."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Everything that is printed. `secret_key` is the person's key, of which nothing is stored."""

    secret_key: str = field(repr=False)
    signing_key: str = field(repr=False)
    earlier_signing_keys: tuple[str, ...] = field(repr=False)
    recipient: str
    site: str
    database: str
    host: str
    made_at: dt.datetime
    made_by: str
    locations: tuple[SheetLocation, ...]
    example: str

    @property
    def name(self) -> str:
        return self.recipient[-NAME_LENGTH:]

    @property
    def address(self) -> str:
        """The location to recover from in examples."""
        return self.locations[0].url if self.locations else "ADDRESS"

    @property
    def command(self) -> str:
        """What recovers from that location."""
        options = self.locations[0].options if self.locations else ""
        return f"manage.py recover --from {self.address}{options}"

    def as_text(self) -> str:
        """For a terminal: the keys, where the backups are, and what to type."""
        fallbacks = [f"BACKUP_SIGNING_KEY_FALLBACKS={' '.join(self.earlier_signing_keys)}"]
        locations = [
            line
            for location in self.locations
            for line in (
                f"Location {location.name}: {location.url}",
                *(f"  {name}={value}" for name, value in location.variables),
                *(f"  {name}=… (not printed)" for name in location.credentials),
            )
        ]
        return "\n".join(
            [
                f"Recovery kit {self.name} of {self.site} (database {self.database} on {self.host})",
                "",
                self.secret_key,
                f"BACKUP_SIGNING_KEY={self.signing_key}",
                *(fallbacks if self.earlier_signing_keys else []),
                "",
                *locations,
                f"On an empty machine:  {self.command}",
                f"Without {self.site}:  {self.example}",
            ]
        )

    def as_html(self, *, back: str = "") -> str:
        """A page without other files and scripts, black on white. `back`: where a link leads that is not printed."""
        codes = {"secret_code": qr_code(self.secret_key), "signing_code": qr_code(self.signing_key)}
        return render_to_string(TEMPLATE, {"sheet": self, "back": back, **codes})


def keys_of_the_site() -> set[str]:
    return {settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS, ""}


def require_own_signing_key() -> None:
    """Raises PreconditionFailed if backups have no signing key of their own: SECRET_KEY is never printed."""
    if conf.BACKUP_SIGNING_KEY in keys_of_the_site():
        raise PreconditionFailed(
            "SECRET_KEY signs backups. It is in no recovery kit, because anyone who has it can sign in as any user."
            " No kit was made.",
            "Set BACKUP_SIGNING_KEY to a new secret (python -c 'import secrets; print(secrets.token_urlsafe(50))'), and"
            " restart the site. Backups that SECRET_KEY has signed stay trusted here.",
        )


def new_sheet(context: OpsContext, secret_key: str, *, made_by: str) -> Sheet:
    """Raises PreconditionFailed as `require_own_signing_key`, and for invalid settings of a location."""
    require_own_signing_key()
    return Sheet(
        secret_key=secret_key,
        signing_key=conf.BACKUP_SIGNING_KEY,
        earlier_signing_keys=tuple(key for key in conf.BACKUP_SIGNING_KEY_FALLBACKS if key not in keys_of_the_site()),
        recipient=recipient_of(secret_key),
        site=conf.OPS_SITE_NAME or "this site",
        database=context.engine.database,
        host=socket.gethostname(),
        made_at=clock.now(),
        made_by=made_by,
        locations=tuple(map(describe_location, read_settings(conf.BACKUP_LOCATIONS))),
        example=EXAMPLES[context.engine.kind],
    )


def describe_location(location: LocationSettings) -> SheetLocation:
    """Its address has no password (`read_settings`)."""
    prefix = f"BACKUP_LOCATION_{location.name.upper()}"
    public = {f"{prefix}_{name.upper()}": getattr(location, name) for name in PUBLIC_OPTIONS}
    secret = {f"{prefix}_{name.upper()}": getattr(location, name) for name in SECRET_OPTIONS}
    return SheetLocation(
        name=location.name,
        url=location.url,
        variables=tuple((name, value) for name, value in public.items() if value),
        credentials=tuple(name for name, value in secret.items() if value),
        options="".join(f" --{name} {value}" for name in ASKED_NOT if (value := getattr(location, name))),
    )


def qr_code(text: str) -> SafeString:
    """An inline SVG without a size of its own."""
    drawn: str = segno.make(text, error="m", micro=False).svg_inline(omitsize=True, border=2, dark="#000", light="#fff")
    return SafeString(drawn)
