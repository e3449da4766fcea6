"""Recovery kits: the keys of persons, which are on paper. This machine has only their public halves.

They are in a signed document in the first storage location, where no restore replaces them.
"""

import datetime as dt
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import Struct

from ops.backups.encryption import encrypt_text
from ops.backups.signing import Keys, Trust, unsigned
from ops.backups.storage.atomic_files import AtomicFiles, json_bytes
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils import schema
from ops.utils.formatting import join_names
from ops.utils.schema import Line, Moment

FILE = "recovery_kits.json"
PROOF_INTERVAL = dt.timedelta(days=183)
"""Half a year: how long a proof that the kit is at hand counts."""
WORD_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without characters that look alike."""
NAME_LENGTH = 8
"""Characters at the end of a public key, by which people know the kit."""
UNTRUSTED = {
    Trust.UNSIGNED: "it is not signed",
    Trust.FOREIGN: "it is signed with an unknown key",
    Trust.TAMPERED: "it was changed after it was signed",
}


class RecoveryKit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's key. `recipient` is its public half; a kit is withdrawn when its paper is lost. Times are in UTC."""

    recipient: Line
    created_at: Moment
    created_by: Line
    proven_at: Moment | None = None
    """When somebody last decrypted a challenge with it."""
    proven_by: Line = ""
    withdrawn_at: Moment | None = None
    withdrawn_by: Line = ""
    signing_key: Line = ""
    """The id of the signing key on the sheet; '' if it is not known."""

    @property
    def name(self) -> str:
        """What lists and the kit itself call it."""
        return self.recipient[-NAME_LENGTH:]

    @property
    def is_current(self) -> bool:
        """Whether new backups are encrypted to it."""
        return self.withdrawn_at is None

    @property
    def proof_due_at(self) -> dt.datetime:
        return (self.proven_at or self.created_at) + PROOF_INTERVAL

    def needs_proof(self, now: dt.datetime) -> bool:
        return self.is_current and self.proof_due_at <= now


class Document(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file."""

    format: Literal[1] = 1
    recovery_kits: tuple[RecoveryKit, ...]


class RecoveryKits:
    """The kits of this installation, in `files`. Callers that write hold the lock of the database."""

    def __init__(self, files: AtomicFiles, keys: Keys) -> None:
        self.files, self.keys = files, keys

    def read(self) -> tuple[RecoveryKit, ...]:
        """The kits in the order in which they were made.

        Raises ArtifactInvalid unless the document is signed here: anyone who could add a kit could read later backups.
        """
        try:
            document = self.files.document(FILE)
        except FileNotFoundError:
            return ()
        if (trust := self.keys.check(document)) is not Trust.SIGNED:
            raise ArtifactInvalid(
                f"{FILE}, the list of recovery kits, is not trusted: {UNTRUSTED[trust]}. Nothing is encrypted to them.",
                "If the key was changed, add the old one to BACKUP_SIGNING_KEY_FALLBACKS. Otherwise delete the file in"
                " BACKUP_DIR, and make a new kit: manage.py create_recovery_kit",
            )
        return schema.read_document(unsigned(document), Document, what=FILE).recovery_kits

    def current(self) -> tuple[RecoveryKit, ...]:
        """Those that are not withdrawn."""
        return tuple(kit for kit in self.read() if kit.is_current)

    def get(self, name: str) -> RecoveryKit:
        """The current kit with this public key or end of it. Raises PreconditionFailed."""
        current = self.current()
        found = [kit for kit in current if name and kit.recipient.endswith(name.strip().removeprefix("…"))]
        if len(found) == 1:
            return found[0]
        known = join_names([kit.name for kit in current])
        raise PreconditionFailed(
            f"There is no recovery kit {name!r}." if not found else f"{name!r} is the end of more than one key.",
            f"Kits: {known}." if known else "Make one: manage.py create_recovery_kit",
        )

    def add(self, kit: RecoveryKit) -> None:
        kits = self.read()
        if any(known.recipient == kit.recipient for known in kits):
            raise PreconditionFailed(f"The recovery kit {kit.name} exists already.", "Nothing was changed.")
        self.write((*kits, kit))

    def prove(self, recipient: str, *, by: str, at: dt.datetime) -> RecoveryKit:
        """Record that the kit is at hand."""
        return self.change(msgspec.structs.replace(self.get(recipient), proven_at=at, proven_by=by))

    def withdraw(self, recipient: str, *, by: str, at: dt.datetime) -> RecoveryKit:
        """Record that the kit is lost: new backups are not encrypted to it. Existing ones stay as they are."""
        return self.change(msgspec.structs.replace(self.get(recipient), withdrawn_at=at, withdrawn_by=by))

    def change(self, changed: RecoveryKit) -> RecoveryKit:
        self.write(tuple(changed if kit.recipient == changed.recipient else kit for kit in self.read()))
        return changed

    def write(self, kits: tuple[RecoveryKit, ...]) -> None:
        document = schema.to_json(Document(recovery_kits=kits))
        self.files.rewrite(FILE, json_bytes(self.keys.sign(document)))


# --- The proof that a kit is at hand ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """A random `word`, and the text that only the kit's key opens: ``age -d -i key.txt`` prints the word."""

    word: str
    text: str


def new_challenge(kit: RecoveryKit) -> Challenge:
    parts = ("".join(secrets.choice(WORD_ALPHABET) for _ in range(4)) for _ in range(3))
    word = "-".join(parts)
    return Challenge(word=word, text=encrypt_text(f"{word}\n", kit.recipient))


def normalized(word: str) -> str:
    """The same for what a person types in another way."""
    return "".join(character for character in word.lower() if character in WORD_ALPHABET)


# --- Which key opens which backup -------------------------------------------------------------------------------------

Recipients = Mapping[str, Collection[str]]
"""The public keys that each encrypted backup was encrypted to, by the name of the backup."""


def opened_by(key: str, backups: Recipients) -> list[str]:
    """The backups that this key opens, in their order."""
    return [name for name, recipients in backups.items() if key in recipients]


def opened_by_none(known: Collection[str], backups: Recipients) -> list[str]:
    """The backups that no `known` key opens, in their order."""
    return [name for name, recipients in backups.items() if not set(known) & set(recipients)]


@dataclass(frozen=True, kw_only=True)
class Concern:
    """Something that a person should do about keys. `code` is for programs, `text` and `hint` are sentences."""

    code: str
    text: str
    hint: str


def find_concerns(
    kits: Iterable[RecoveryKit],
    *,
    now: dt.datetime,
    encrypts: bool,
    persons: Collection[str],
    identities: Collection[str],
    signing_key: str,
    backups: Recipients,
) -> list[Concern]:
    """What should be done before the keys are needed, the most urgent first.

    `encrypts`: there is an encrypted storage location. `persons` are public keys besides the kits', `identities` those
    of this machine, `signing_key` is the id of the key that signs now. `backups` are in order, the newest first.
    """
    current = [kit for kit in kits if kit.is_current]
    known = {*persons, *identities, *(kit.recipient for kit in current)}
    concerns = []
    if lost := opened_by_none(known, backups):
        concerns.append(Concern(code="NoKnownKey", text=describe_lost(lost), hint=ADD_KEY))
    if encrypts and not current and not persons:
        concerns.append(Concern(code="NoRecoveryKit", text=NO_KIT, hint="Make one: manage.py create_recovery_kit"))
    if old := [kit for kit in current if kit.signing_key and kit.signing_key != signing_key]:
        concerns.append(Concern(code="OldSigningKey", text=describe_old(old), hint=REPLACE))
    if due := [kit for kit in current if kit.needs_proof(now)]:
        concerns.append(Concern(code="ProofDue", text=describe_due(due), hint=PROVE))
    return concerns


NO_KIT = (
    "A storage location is encrypted, and there is no recovery kit: if this machine is lost, nobody can read the"
    " backups in that location."
)
ADD_KEY = "If you have the key that opens them, add it to BACKUP_AGE_IDENTITY as a second one."
REPLACE = "Make a new kit, and withdraw the old ones: manage.py create_recovery_kit"
PROVE = "Give it on the page Recovery kits, or with: manage.py prove_recovery_kit"


def describe_lost(names: list[str]) -> str:
    """`names` are the backups that no known key opens, the newest first."""
    which = names[0] if len(names) == 1 else f"{len(names)} backups; the newest is {names[0]}"
    return f"No known key opens the encrypted copies of {which}."


def describe_old(kits: list[RecoveryKit]) -> str:
    """Which kits have another signing key than the one that signs now."""
    names = join_names([kit.name for kit in kits])
    return (
        f"BACKUP_SIGNING_KEY was changed after these recovery kits were made: {names}. With what they have, newer"
        " backups are not trusted."
    )


def describe_due(kits: list[RecoveryKit]) -> str:
    """Which kits were not proven for half a year."""
    names = join_names([kit.name for kit in kits])
    if len(kits) == 1:
        return f"A proof is due that the recovery kit {names} is still at hand."
    return f"Proofs are due that these recovery kits are still at hand: {names}."
