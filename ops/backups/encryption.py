"""Files in the age format (age-encryption.org/v1) for X25519 keys; Debian's `age` opens them without HomeRack.

The format protects what it holds from readers and from changes, but everybody who knows a public key can make a file
that is opened here. Who made it is shown by the signature of the manifest.
"""

import contextlib
import io
import queue
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import IO, Self

import pyrage

from ops.backups.compression import pool, reader
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed
from ops.utils.streams import BLOCK_SIZE, blocks_of

SUFFIX = ".age"
"""Of the names of encrypted files."""
READ_AHEAD = 4
"""Blocks of plaintext of 1 MiB that may wait for their reader."""
NO_KEY = "No matching keys found"
"""pyrage's only error that does not mean a damaged file."""
KEEP_SECRET = "A secret key (AGE-SECRET-KEY-1…) belongs to BACKUP_AGE_IDENTITY, or on paper."  # noqa: S105  # no secret


@dataclass(frozen=True)
class AgeKeys:
    """The keys of this machine and all keys that new backups are encrypted to.

    `identities` are secret keys (``AGE-SECRET-KEY-1…``) of the machine; all of them decrypt. `recipients` are public
    keys (``age1…``). Raises PreconditionFailed for other keys, without showing them.
    """

    identities: tuple[str, ...] = field(repr=False)
    recipients: tuple[str, ...]

    def __post_init__(self) -> None:
        for identity in self.identities:
            recipient_of(identity)
        if self.recipients != valid_recipients(self.recipients):
            raise ValueError("the recipients are not unique, or not as `valid_recipients` writes them")

    @classmethod
    def of_machine(cls, identities: Iterable[str], persons: Iterable[str]) -> Self:
        """The first of `identities` is current: new backups are encrypted to its public key, and to `persons`."""
        secrets = tuple(identities)
        own = [recipient_of(identity) for identity in secrets[:1]]
        return cls(secrets, valid_recipients([*own, *persons]))

    @property
    def own_recipients(self) -> tuple[str, ...]:
        """The public keys of `identities`: what is encrypted to one of them can be decrypted here."""
        return tuple(recipient_of(identity) for identity in self.identities)

    def encrypt_file(self, source: IO[bytes], target: IO[bytes]) -> None:
        """Write the rest of `source` to `target` as an age file for all `recipients`, in chunks of 64 KiB.

        Raises what the two streams raise; then `target` is incomplete. PreconditionFailed without recipients.
        """
        if not self.recipients:
            raise PreconditionFailed("There is no key to encrypt backups to.", "Set BACKUP_AGE_IDENTITY.")
        keys = [pyrage.x25519.Recipient.from_str(recipient) for recipient in self.recipients]
        guard = Guard(reader(blocks_of(source)), target)
        try:
            pyrage.encrypt_io(guard, guard, keys)
        except (pyrage.EncryptError, OSError) as error:
            guard.raise_failure()
            raise OpsError(f"A backup could not be encrypted: {error}.", "Nothing was changed.") from error
        # pyrage buffers, and ignores an error of its last write.
        guard.raise_failure()

    def encrypt(self, data: bytes) -> bytes:
        target = io.BytesIO()
        self.encrypt_file(io.BytesIO(data), target)
        return target.getvalue()

    def decrypt_file(self, source: IO[bytes], target: IO[bytes], name: str) -> None:
        """Write the plaintext of the age file `source` to `target`. Raises what the two streams raise.

        Raises ArtifactInvalid, which calls the file `name`, where no key opens it or it was cut or changed; `target`
        then has its beginning.
        """
        keys = [pyrage.x25519.Identity.from_str(identity) for identity in self.identities]
        guard = Guard(reader(blocks_of(source)), target)
        try:
            pyrage.decrypt_io(guard, guard, keys)
        except (pyrage.DecryptError, OSError) as error:
            guard.raise_failure()
            raise unreadable(name, str(error)) from error
        guard.raise_failure()

    def decrypt(self, data: bytes, name: str) -> bytes:
        """The whole plaintext. Raises ArtifactInvalid as `decrypt_file` does."""
        target = io.BytesIO()
        self.decrypt_file(io.BytesIO(data), target, name)
        return target.getvalue()

    def opened_by(self, head: bytes) -> str:
        """The public key of the identity that opens the age file that begins with `head`; '' if none does.

        `head` has the whole header, which takes about 100 bytes for each recipient.
        """
        for identity in self.identities:
            try:
                pyrage.decrypt_io(io.BytesIO(head), io.BytesIO(), [pyrage.x25519.Identity.from_str(identity)])
            except (pyrage.DecryptError, OSError) as error:
                # After the header it is cut off, which is another error.
                if str(error) == NO_KEY:
                    continue
            return recipient_of(identity)
        return ""

    @contextlib.contextmanager
    def decrypted(self, stream: IO[bytes], name: str) -> Iterator[IO[bytes]]:
        """The plaintext of the age file `stream`, decrypted by a thread that reads a few MiB ahead.

        Reading it raises ArtifactInvalid as `decrypt_file` does, at the latest where the plaintext would end, and what
        `stream` raises. It may be left early: the thread ends with the block, after its current read of `stream`,
        which is not closed.
        """
        feed = Feed()
        with pool(1) as executor:
            done = executor.submit(self.fill, feed, stream, name)
            try:
                with contextlib.closing(reader(feed.blocks(done))) as plain:
                    yield plain
            finally:
                feed.abandon()

    def fill(self, feed: "Feed", stream: IO[bytes], name: str) -> None:
        try:
            self.decrypt_file(stream, feed, name)  # type: ignore[arg-type]  # only `write` is called
        finally:
            feed.end()


class NoKeyOpens(ArtifactInvalid):
    """The file is encrypted to other keys."""


class Guard:
    """Both streams of an age file; keeps the error of either, of which pyrage would leave only the text.

    pyrage raises OSError for damaged chunks as well, so that the type alone does not tell whose the error is.
    """

    def __init__(self, source: IO[bytes], target: IO[bytes]) -> None:
        self.source, self.target = source, target
        self.failure: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            return self.source.read(size)
        except BaseException as error:
            self.failure = error
            raise

    def write(self, data: bytes) -> int:
        try:
            return self.target.write(data)
        except BaseException as error:
            self.failure = error
            raise

    def flush(self) -> None:
        """Left to the owner of the target."""

    def raise_failure(self) -> None:
        if self.failure:
            raise self.failure


class Abandoned(Exception):
    """Nobody reads the plaintext any more."""


class Feed:
    """Takes what one thread writes, and gives it to another in blocks of about 1 MiB."""

    def __init__(self) -> None:
        self.queue: queue.Queue[bytes] = queue.Queue(READ_AHEAD)
        self.buffer = bytearray()
        self.abandoned = False

    def write(self, data: bytes) -> int:
        self.buffer += data
        if len(self.buffer) >= BLOCK_SIZE:
            self.pass_on()
        return len(data)

    def pass_on(self) -> None:
        if self.abandoned:
            raise Abandoned
        if self.buffer:
            self.queue.put(bytes(self.buffer))
            self.buffer.clear()

    def end(self) -> None:
        """What was written last, and an empty block as end mark."""
        with contextlib.suppress(Abandoned):
            self.pass_on()
            self.queue.put(b"")

    def blocks(self, done: Future[None]) -> Iterator[bytes]:
        """What is written, until the writer is `done`, whose error is raised."""
        while block := self.queue.get():
            yield block
        done.result()

    def abandon(self) -> None:
        """Called by the reader. The writer gets an error at its next block, and never waits again."""
        self.abandoned = True
        # The writer waits for space for at most two blocks: its last one and the end mark.
        with contextlib.suppress(queue.Empty):
            while True:
                self.queue.get_nowait()


def unreadable(name: str, reason: str) -> ArtifactInvalid:
    if reason == NO_KEY:
        return NoKeyOpens(
            f"No key here opens {name}.",
            "It is encrypted to recipients that are unknown here, or the list of them was damaged. Add the secret key"
            " that opens it to BACKUP_AGE_IDENTITY, as a second one; the recovery kit has it.",
        )
    return ArtifactInvalid(
        f"{name} cannot be decrypted: it was damaged or replaced ({reason}).",
        "Use another copy or another backup: manage.py list_backups",
    )


def encrypt_text(text: str, recipient: str) -> str:
    """An armored age file: text that can be copied into a terminal, for one public key."""
    key = pyrage.x25519.Recipient.from_str(recipient)
    armored: bytes = pyrage.encrypt(text.encode(), [key], armored=True)
    return armored.decode()


def new_identity() -> str:
    """A new secret key."""
    return str(pyrage.x25519.Identity.generate())


def recipient_of(identity: str) -> str:
    """The public key of a secret key. Raises PreconditionFailed, which does not show it."""
    try:
        return str(pyrage.x25519.Identity.from_str(identity).to_public())
    except (pyrage.IdentityError, UnicodeEncodeError):
        # Not `from error`: nobody knows what its text will contain.
        raise PreconditionFailed(
            "A key in BACKUP_AGE_IDENTITY is not a secret key of age.",
            "It begins with AGE-SECRET-KEY-1 and is made by `age-keygen`. Several are separated by spaces.",
        ) from None


def valid_recipients(recipients: Iterable[str]) -> tuple[str, ...]:
    """The different ones in their order. Raises PreconditionFailed for what is no public X25519 key."""
    return tuple(dict.fromkeys(map(valid_recipient, recipients)))


def valid_recipient(recipient: str) -> str:
    if "SECRET" in recipient.upper():
        raise PreconditionFailed("A recipient of backups is a secret key. It was not used.", KEEP_SECRET)
    try:
        return str(pyrage.x25519.Recipient.from_str(recipient))
    except (pyrage.RecipientError, UnicodeEncodeError):
        raise PreconditionFailed(
            f"{shortened(recipient)} is not a public key that backups can be encrypted to.",
            "BACKUP_AGE_RECIPIENTS takes keys that begin with age1, as `age-keygen` prints them; no SSH keys, and none"
            " of plugins.",
        ) from None


def shortened(recipient: str) -> str:
    return repr(recipient if len(recipient) <= 24 else f"{recipient[:12]}…{recipient[-6:]}")


def require_two(recipients: Iterable[str]) -> None:
    """Raises PreconditionFailed where encrypted backups would have fewer than two keys that open them."""
    if len(set(recipients)) < 2:
        raise PreconditionFailed(
            "Encrypted backups need two keys that open them: this machine's and a person's. If only the machine had"
            " one, they would be lost with it.",
            "Make the person's key: manage.py create_recovery_kit",
        )
