"""Age files hold what was encrypted, for exactly the recipients, and a changed one is refused by name."""

import errno
import io
import itertools
import random
import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ops.backups.compression import reader
from ops.backups.encryption import AgeKeys, new_identity, recipient_of, require_two
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils.streams import BLOCK_SIZE, blocks_of
from tests.backups import factories

CHUNK = 64 * 1024
TAG = 16
"""Bytes that each chunk is longer in the ciphertext."""
PERSON = "AGE-SECRET-KEY-1GR8DY766J89SE22F5XQ29F9MZH92CSYRJGPDH70RFNP7FNY76LJQR28Y9A"
"""For these tests only; the names of some of them contain it, so it is the same in all processes."""
KEYS = AgeKeys.of_machine([new_identity()], [recipient_of(PERSON)])
NAME = "homerack_20261123_120000.sql.gz.age"
NOISE = random.Random(9).randbytes(3 * CHUNK + 1000)


@pytest.fixture(autouse=True)
def no_thread_stays_behind() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("backup")] == []


def read_all(ciphertext: bytes | IO[bytes], keys: AgeKeys = KEYS) -> bytes:
    stream = io.BytesIO(ciphertext) if isinstance(ciphertext, bytes) else ciphertext
    with keys.decrypted(stream, NAME) as plain:
        return plain.read()


def header_size(ciphertext: bytes) -> int:
    """Bytes before the first chunk: header and nonce."""
    return ciphertext.index(b"\n", ciphertext.index(b"\n--- ") + 1) + 1 + 16


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3 * CHUNK + 1000), st.integers(1, CHUNK))
@example(CHUNK, 1000)
@example(2 * CHUNK, CHUNK)
@example(0, 1)
def test_decrypted_gives_what_was_encrypted(size, step):
    target = io.BytesIO()
    KEYS.encrypt_file(io.BytesIO(NOISE[:size]), target)
    assert NOISE[:64] not in target.getvalue()
    with KEYS.decrypted(io.BytesIO(target.getvalue()), NAME) as plain:
        assert b"".join(iter(lambda: plain.read(step), b"")) == NOISE[:size]
    assert KEYS.decrypt(target.getvalue(), NAME) == NOISE[:size]


def test_encrypt_is_opened_by_each_recipient_and_by_no_other_key():
    ciphertext = KEYS.encrypt(b"rows")
    assert read_all(ciphertext, AgeKeys((PERSON,), ())) == b"rows"
    stranger = AgeKeys.of_machine([new_identity()], [])
    for attempt in (read_all, lambda data, keys: keys.decrypt(data, NAME)):
        with pytest.raises(ArtifactInvalid, match=f"No key here opens {NAME}") as refused:
            attempt(ciphertext, stranger)
        assert "recipients that are unknown here" in refused.value.hint


def test_key_that_opens_a_file_is_known_by_its_beginning():
    first, second, other = new_identity(), new_identity(), new_identity()
    ciphertext = AgeKeys((), (recipient_of(second), recipient_of(PERSON))).encrypt(NOISE)
    head = ciphertext[: 64 * 1024]
    assert AgeKeys((first, second), (recipient_of(first),)).opened_by(head) == recipient_of(second)
    assert AgeKeys((second, PERSON), (recipient_of(first),)).opened_by(head) == recipient_of(second)
    assert AgeKeys((other,), (recipient_of(other),)).opened_by(head) == ""
    assert AgeKeys((second,), (recipient_of(second),)).opened_by(ciphertext) == recipient_of(second)


def test_earlier_identity_decrypts_and_the_first_one_is_encrypted_to():
    old, new = new_identity(), new_identity()
    ciphertext = AgeKeys.of_machine([old], []).encrypt(b"rows")
    rotated = AgeKeys.of_machine([new, old], [])
    assert rotated.decrypt(ciphertext, NAME) == b"rows"
    assert rotated.recipients == (recipient_of(new),)
    assert rotated.own_recipients == (recipient_of(new), recipient_of(old))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK, 3 * CHUNK + 1000])
def test_ciphertext_cut_at_every_chunk_and_next_to_it_is_refused(size):
    ciphertext = KEYS.encrypt(NOISE[:size])
    start = header_size(ciphertext)
    boundaries = range(start, len(ciphertext) + 1, CHUNK + TAG)
    near = {cut + offset for cut in (*boundaries, len(ciphertext)) for offset in (-TAG, -1, 0, 1, TAG)}
    cuts = sorted(cut for cut in {0, 1, 20, start // 2, *near} if cut < len(ciphertext))
    assert len(cuts) > 5
    for cut in cuts:
        with pytest.raises(ArtifactInvalid, match=f"{NAME} cannot be decrypted: it was damaged or replaced"):
            read_all(ciphertext[:cut])


def test_ciphertext_with_chunks_left_out_doubled_or_exchanged_is_refused():
    ciphertext = KEYS.encrypt(NOISE)
    start = header_size(ciphertext)
    header, body = ciphertext[:start], ciphertext[start:]
    chunks = [body[at : at + CHUNK + TAG] for at in range(0, len(body), CHUNK + TAG)]
    assert len(chunks) == 4
    orders = {order for length in range(5) for order in itertools.product(range(4), repeat=length)}
    for order in orders - {(0, 1, 2, 3)}:
        with pytest.raises(ArtifactInvalid, match=NAME):
            KEYS.decrypt(header + b"".join(chunks[index] for index in order), NAME)
    with pytest.raises(ArtifactInvalid, match=NAME):
        KEYS.decrypt(ciphertext + chunks[3], NAME)
    with pytest.raises(ArtifactInvalid, match=NAME):
        KEYS.decrypt(KEYS.encrypt(NOISE)[:start] + body, NAME)


def test_ciphertext_with_a_flipped_bit_is_refused():
    ciphertext = KEYS.encrypt(NOISE)
    start = header_size(ciphertext)
    sample = random.Random(3).sample(range(start, len(ciphertext)), 40)
    for position in (*range(start), *sample, len(ciphertext) - 1):
        flipped = bytearray(ciphertext)
        flipped[position] ^= 1 << position % 8
        with pytest.raises(ArtifactInvalid, match=NAME):
            KEYS.decrypt(bytes(flipped), NAME)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b" + NOISE, b"age-encryption.org/v2\n", b"\n" * 500])
def test_other_file_than_an_age_file_is_refused(content):
    with pytest.raises(ArtifactInvalid, match=NAME):
        read_all(content)


def test_decrypted_of_a_cut_file_gives_no_end_of_the_plaintext_before_the_error():
    ciphertext = KEYS.encrypt(NOISE * 20)
    with KEYS.decrypted(io.BytesIO(ciphertext[:-1]), NAME) as plain:
        assert plain.read(BLOCK_SIZE) == (NOISE * 20)[:BLOCK_SIZE]
        for _ in range(2):
            with pytest.raises(ArtifactInvalid, match=NAME):
                b"".join(blocks_of(plain))


@pytest.mark.parametrize("read", [0, 1, 3 * BLOCK_SIZE])
def test_decrypted_that_is_left_early_ends_its_thread(read):
    ciphertext = KEYS.encrypt(NOISE * 100)
    source = io.BytesIO(ciphertext)
    with KEYS.decrypted(source, NAME) as plain:
        assert len(plain.read(read)) == read
    assert not source.closed
    assert source.tell() < len(ciphertext)
    with pytest.raises(ZeroDivisionError), KEYS.decrypted(io.BytesIO(ciphertext), NAME):
        raise ZeroDivisionError


def test_decrypted_passes_an_error_of_its_source_on():
    lost = ConnectionResetError("the storage location does not answer")
    ciphertext = KEYS.encrypt(NOISE)
    for size in (0, 30, CHUNK, len(ciphertext)):
        with pytest.raises(ConnectionResetError) as raised:
            read_all(reader(factories.failing(ciphertext[:size], error=lost)))
        assert raised.value is lost


def test_encrypt_file_passes_errors_of_both_streams_on():
    lost = OSError(28, "No space left on device")

    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise lost

    for source, target in ((io.BytesIO(NOISE), Full()), (reader(factories.failing(NOISE, error=lost)), io.BytesIO())):
        with pytest.raises(OSError, match="No space left") as raised:
            KEYS.encrypt_file(source, target)
        assert raised.value is lost


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 200_000])
def test_error_of_any_write_is_raised(size):
    """Of the last one, too, in which pyrage writes what it has buffered."""
    writes = Counting()
    KEYS.encrypt_file(io.BytesIO(bytes(size)), writes)
    for number in range(1, writes.number + 1):
        with pytest.raises(OSError, match="No space"):
            KEYS.encrypt_file(io.BytesIO(bytes(size)), Counting(fails_at=number))


class Counting(io.RawIOBase):
    """Counts the writes, of which one fails."""

    def __init__(self, *, fails_at: int = 0) -> None:
        self.number, self.fails_at = 0, fails_at

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.number += 1
        if self.number == self.fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(data)


def test_encrypt_without_recipients_is_refused():
    with pytest.raises(PreconditionFailed, match="no key to encrypt backups to"):
        AgeKeys((), ()).encrypt(b"rows")


def test_keys_do_not_show_their_secrets():
    assert KEYS.identities[0] not in repr(KEYS)
    assert "SECRET" not in repr(KEYS)
    assert KEYS.recipients == (recipient_of(KEYS.identities[0]), recipient_of(PERSON))


@pytest.mark.parametrize("bad", [PERSON, PERSON.lower(), "AGE-SECRET-KEY-1WRONG"])
def test_secret_key_as_recipient_is_refused_without_showing_it(bad):
    with pytest.raises(PreconditionFailed) as refused:
        AgeKeys.of_machine([], [bad])
    assert bad not in str(refused.value)
    assert refused.value.message == "A recipient of backups is a secret key. It was not used."


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "ada",
        "age1yubikey1q2w7u3vpya839jxxuq8g0sedh3d740d4xvn639sqhr95ejj8vu3hyfumptt",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN",
        recipient_of(PERSON)[:-1] + "b",
        "\udcff",
    ],
)
def test_other_recipient_than_an_x25519_key_is_refused(bad):
    with pytest.raises(PreconditionFailed, match="is not a public key that backups can be encrypted to"):
        AgeKeys.of_machine([], [bad])


@pytest.mark.parametrize("bad", ["", PERSON[:-1], recipient_of(PERSON), "\udcff"])
def test_identity_that_is_none_is_refused_without_showing_it(bad):
    with pytest.raises(PreconditionFailed, match="is not a secret key of age") as refused:
        AgeKeys.of_machine([bad], [])
    assert not bad or bad not in str(refused.value)


def test_recipient_that_is_given_twice_counts_once():
    own = recipient_of(PERSON)
    keys = AgeKeys.of_machine([PERSON], [own, own.upper()])
    assert keys.recipients == (own,)
    with pytest.raises(PreconditionFailed) as refused:
        require_two(keys.recipients)
    assert refused.value.hint == "Make the person's key: manage.py create_recovery_kit"
    require_two(KEYS.recipients)


@pytest.fixture
def age() -> str:
    """Debian's program."""
    program = shutil.which("age")
    if not program:
        pytest.skip("apt-get install age")
    return program


def test_age_of_debian_opens_what_was_encrypted_here(age, tmp_path):
    key = tmp_path / "key.txt"
    key.write_text(f"# a comment\n{PERSON}\n")
    opened = subprocess.run([age, "-d", "-i", key], input=KEYS.encrypt(NOISE), capture_output=True, check=True)
    assert opened.stdout == NOISE


def test_file_of_debians_age_is_opened_here(age):
    recipients = [argument for recipient in KEYS.recipients for argument in ("-r", recipient)]
    made = subprocess.run([age, *recipients], input=NOISE, capture_output=True, check=True).stdout
    assert read_all(made) == NOISE


@pytest.mark.slow
def test_memory_stays_flat_over_200_megabytes(tmp_path: Path):
    plain, cipher = tmp_path / "plain", tmp_path / "cipher"
    with plain.open("wb") as file:
        for _ in range(200):
            file.write(NOISE * 6)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with plain.open("rb") as source, cipher.open("wb") as target:
        KEYS.encrypt_file(source, target)
    with cipher.open("rb") as source, KEYS.decrypted(source, NAME) as stream, plain.open("rb") as expected:
        assert all(block == expected.read(len(block)) for block in blocks_of(stream))
        assert expected.read(1) == b""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000
