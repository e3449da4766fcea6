"""Backups on an SFTP server: whom it trusts, and what happens when the server fails."""

import contextlib
import gc
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ops.backups.compression import IteratorFile
from ops.backups.storage import sftp as module
from ops.backups.storage import ssh
from ops.backups.storage.local import PARTIAL
from ops.backups.storage.sftp import SftpBackupStorage
from ops.backups.storage.ssh import host_keys
from ops.errors import PreconditionFailed
from tests.support.plain_sftp import PASSWORD, PlainSftp, plain_sftp_server
from tests.support.sshd import INSTALL, Sshd, find_sshd, make_key, sshd_server

BLOCK = bytes(range(256)) * 4096
"""1 MiB."""


def content(*blocks: bytes) -> IteratorFile:
    return IteratorFile(iter(blocks), "content")


def read(storage: SftpBackupStorage, name: str) -> bytes:
    with storage.open(name) as file:
        return bytes(file.read())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def fingerprint(public_key: Path) -> str:
    """As OpenSSH shows it."""
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(public_key)], capture_output=True, text=True, check=True)
    return shown.stdout.split()[1]


@pytest.fixture
def storage(sshd: Sshd) -> SftpBackupStorage:
    return SftpBackupStorage(**sshd.options(name="nas"))


@pytest.fixture
def own_sshd() -> Iterator[Sshd]:
    """A server that a test may stop."""
    if not find_sshd():
        pytest.skip(INSTALL)
    with sshd_server() as server:
        yield server


@pytest.fixture
def failing(own_sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> SftpBackupStorage:
    """A storage whose server a test may stop or freeze, which it gives up sooner than others."""
    monkeypatch.setattr(ssh, "SILENCE", 3)
    return SftpBackupStorage(**own_sshd.options(name="nas"))


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[PlainSftp]:
    with plain_sftp_server(tmp_path / "files") as server:
        yield server


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(PreconditionFailed) as caught:
        call(*arguments)
    return str(caught.value)


# --- Whom it trusts ---------------------------------------------------------------------------------------------------


def test_server_without_host_key_is_not_contacted(sshd):
    storage = SftpBackupStorage(**sshd.options(name="off_site", host_key=""))
    assert refusal(storage.exists, "x") == (
        f"sftp://{sshd.user}@127.0.0.1:{sshd.port}{sshd.files} was not contacted, because its host key is not known.\n"
        f"Compare what this shows with the server's own: ssh-keyscan -p {sshd.port} 127.0.0.1, "
        "then set BACKUP_LOCATION_OFF_SITE_HOST_KEY to a line of it."
    )
    assert storage.server.current is None


def test_server_with_another_host_key_is_refused(sshd, tmp_path):
    other = make_key(tmp_path / "other")
    storage = SftpBackupStorage(**sshd.options(name="nas", host_key=other))
    assert refusal(storage.exists, "x") == (
        f"sftp://{sshd.user}@127.0.0.1:{sshd.port}{sshd.files} was refused. "
        f"Its host key is {fingerprint(sshd.folder / 'host_key.pub')} (ssh-ed25519), "
        f"and BACKUP_LOCATION_NAS_HOST_KEY is {fingerprint(tmp_path / 'other.pub')} (ssh-ed25519).\n"
        "If the server was installed again, set its new key. If not, another machine answers in its place."
    )


def test_server_shows_the_type_of_key_that_is_known(sshd, plain):
    """It has an ECDSA key alone; OpenSSH's has none."""
    storage = SftpBackupStorage(**plain.options(host_key=f"{sshd.host_key}\n{plain.options()['host_key']}"))
    assert not storage.exists("x")


@pytest.mark.parametrize(
    "text",
    [
        "{key}",
        "[127.0.0.1]:2222 {key}",
        "# a comment\n\n{key} root@nas\n",
        "{other}\n{key}",
        "{other},{key}",
        "nas,192.0.2.7 {key}",
    ],
)
def test_host_key_is_read_as_programs_print_it(sshd, tmp_path, text):
    other = make_key(tmp_path / "other")
    assert SftpBackupStorage(**sshd.options(host_key=text.format(key=sshd.host_key, other=other))).entries() == {}


@pytest.mark.parametrize(
    "text", ["SHA256:abc", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 AAAAx", "ssh-rsa {ed25519}"]
)
def test_host_key_that_is_none_is_refused(sshd, text):
    text = text.format(ed25519=sshd.host_key.split()[1])
    with pytest.raises(ValueError, match="is not a host key"):
        host_keys(text)
    storage = SftpBackupStorage(**sshd.options(name="nas", host_key=text))
    assert refusal(storage.exists, "x").startswith(f"BACKUP_LOCATION_NAS_HOST_KEY: {text!r} is not a host key.\n")


# --- As whom it signs in ----------------------------------------------------------------------------------------------


def test_unknown_identity_is_refused_with_the_settings(sshd, tmp_path):
    make_key(tmp_path / "stranger")
    storage = SftpBackupStorage(**sshd.options(name="nas", identity_file=str(tmp_path / "stranger")))
    assert refusal(storage.exists, "x") == (
        f"{storage.display_location} did not let {sshd.user} in: Authentication failed.\n"
        "Set BACKUP_LOCATION_NAS_IDENTITY_FILE (its public half belongs into ~/.ssh/authorized_keys there) "
        "or BACKUP_LOCATION_NAS_PASSWORD."
    )


@contextlib.contextmanager
def authorized(sshd: Sshd, line: str) -> Iterator[None]:
    """Let one more key in, while the block lasts."""
    keys = sshd.folder / "authorized_keys"
    before = keys.read_text()
    keys.write_text(f"{before}{line}\n")
    try:
        yield
    finally:
        keys.write_text(before)


def test_identity_file_with_passphrase_is_read(sshd, tmp_path):
    key = make_key(tmp_path / "secured", passphrase="open sesame")
    options = sshd.options(identity_file=str(tmp_path / "secured"), password="open sesame")
    with authorized(sshd, key):
        assert SftpBackupStorage(**options).entries() == {}


def test_key_that_may_do_sftp_alone_is_enough(sshd, tmp_path):
    """As docs/storage-locations.md recommends."""
    key = make_key(tmp_path / "restricted")
    with authorized(sshd, f'restrict,command="internal-sftp" {key}'):
        storage = SftpBackupStorage(**sshd.options(identity_file=str(tmp_path / "restricted")))
        storage.save("x", content(b"x"))
        assert read(storage, "x") == b"x"


@pytest.mark.parametrize("fault", ["missing", "damaged", "locked"])
def test_unreadable_identity_file_is_named(sshd, tmp_path, fault):
    identity = tmp_path / "identity"
    if fault == "damaged":
        identity.write_text("no key")
    if fault == "locked":
        make_key(identity, passphrase="open sesame")
    storage = SftpBackupStorage(**sshd.options(name="nas", identity_file=str(identity)))
    assert refusal(storage.exists, "x") == (
        f"{storage.display_location}: the private key {identity} cannot be read.\n"
        "Check BACKUP_LOCATION_NAS_IDENTITY_FILE, the file's owner, and its passphrase (BACKUP_LOCATION_NAS_PASSWORD)."
    )


def test_key_in_home_is_used_where_nothing_is_given(sshd, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    storage = SftpBackupStorage(**sshd.options(identity_file=""))
    assert "there is no key to try" in refusal(storage.exists, "x")
    (tmp_path / ".ssh").mkdir()
    make_key(tmp_path / ".ssh/id_ecdsa")
    shutil.copy(sshd.identity_file, tmp_path / ".ssh/id_rsa")
    assert storage.entries() == {}


def test_password_opens_the_server(plain):
    assert SftpBackupStorage(**plain.options()).entries() == {}


def test_wrong_password_is_refused_without_showing_it(plain):
    storage = SftpBackupStorage(**plain.options(name="nas", password="incorrect horse"))
    message = refusal(storage.exists, "x")
    assert message.startswith(f"{storage.display_location} did not let keeper in: Authentication failed.\n")
    assert "horse" not in message


# --- What it writes ---------------------------------------------------------------------------------------------------


def test_files_and_directories_are_private(sshd):
    (sshd.files / "shared").mkdir(mode=0o755)
    storage = SftpBackupStorage(**sshd.options(path=f"{sshd.files}/shared/new"))
    storage.save("events/x", content(b"x"))
    folders = [mode(sshd.files / path) for path in ("shared", "shared/new", "shared/new/events")]
    assert folders == [0o755, 0o700, 0o700]
    assert mode(sshd.files / "shared/new/events/x") == 0o600


def test_relative_path_begins_at_the_home_of_the_user(sshd):
    folder = f"homerack-test-{sshd.folder.name}"
    storage = SftpBackupStorage(**sshd.options(path=folder))
    try:
        storage.save("x", content(b"x"))
        assert (Path.home() / folder / "x").read_bytes() == b"x"
    finally:
        shutil.rmtree(Path.home() / folder, ignore_errors=True)


def test_links_and_directories_are_not_read(storage, sshd):
    (sshd.files / "link").symlink_to("/etc/passwd")
    (sshd.files / "folder").mkdir()
    assert storage.entries() == {}
    assert storage.listdir("") == (["folder"], ["link"])
    for name in ("link", "folder"):
        assert refusal(storage.open, name).startswith(
            f"{storage.display_location}/{name}: the server refused a request: it is not a file.\n"
        )


def test_partial_file_of_a_lost_connection_is_overwritten(storage, sshd):
    (sshd.files / f"x{PARTIAL}").write_bytes(b"longer than the new one")
    storage.save("x", content(b"new"))
    assert read(storage, "x") == b"new"
    assert [path.name for path in sshd.files.iterdir()] == ["x"]


def test_partial_file_of_another_writer_is_not_published(storage, sshd):
    def blocks() -> Iterator[bytes]:
        yield b"mine"
        (sshd.files / f"x{PARTIAL}").unlink()
        (sshd.files / f"x{PARTIAL}").write_bytes(b"half of another")

    message = refusal(storage.save, "x", IteratorFile(blocks(), "x"))
    assert "another process has written the same file" in message
    assert not storage.exists("x")


def test_folder_that_vanishes_while_saving_is_an_error_of_the_location(storage, sshd):
    def blocks() -> Iterator[bytes]:
        yield b"mine"
        shutil.rmtree(sshd.files)

    assert "the server refused a request: No such file" in refusal(storage.save, "x", IteratorFile(blocks(), "x"))


def test_name_that_appears_while_saving_is_not_overwritten(storage, sshd):
    def blocks() -> Iterator[bytes]:
        yield b"mine"
        (sshd.files / "x").write_bytes(b"theirs")

    assert "the server refused a request" in refusal(storage.save, "x", IteratorFile(blocks(), "x"))
    assert {path.name: path.read_bytes() for path in sshd.files.iterdir()} == {"x": b"theirs"}


# --- When the server fails --------------------------------------------------------------------------------------------

UNREACHABLE = (
    "{location} is unreachable ({name}): {reason}.\nCheck that its server runs: sftp -P {port} {user}@127.0.0.1"
)


def test_stopped_server_is_named_with_a_command_to_try(failing, own_sshd):
    failing.save("x", content(b"x"))
    own_sshd.stop()
    values = {"location": failing.display_location, "port": own_sshd.port, "user": own_sshd.user}
    assert refusal(failing.entries) == UNREACHABLE.format(name="its list", reason="Connection refused", **values)
    assert refusal(failing.size, "x") == UNREACHABLE.format(name="x", reason="Connection refused", **values)
    own_sshd.start()
    assert read(failing, "x") == b"x"


def test_unknown_host_is_named(sshd):
    storage = SftpBackupStorage(**sshd.options(host="nas.invalid", port=22))
    message = refusal(storage.entries)
    assert message.startswith(f"sftp://{sshd.user}@nas.invalid{sshd.files} is unreachable (its list): ")
    assert message.endswith(f"\nCheck that its server runs: sftp {sshd.user}@nas.invalid")


CALLS: dict[str, Callable[[SftpBackupStorage], Any]] = {
    "delete": lambda storage: storage.delete("old"),
    "entries": lambda storage: storage.entries(),
    "exists": lambda storage: storage.exists("x"),
    "free_bytes": lambda storage: storage.free_bytes(),
    "open": lambda storage: storage.open("x"),
    "replace": lambda storage: storage.replace("x", content(b"new")),
    "save": lambda storage: storage.save("new", content(b"new")),
}


@pytest.mark.slow
def test_each_request_to_a_frozen_server_ends(failing, own_sshd):
    failing.save("x", content(b"x"))
    storages = [SftpBackupStorage(**own_sshd.options()) for _ in CALLS]
    assert all(storage.exists("x") for storage in storages)
    own_sshd.freeze()
    with ThreadPoolExecutor(len(CALLS)) as pool:
        # The first requests find a connection, and the second ones open it.
        for _ in range(2):
            messages = pool.map(refusal, CALLS.values(), storages)
            assert all("no answer for" in message for message in messages)
    own_sshd.thaw()
    assert [storage.exists("x") for storage in storages] == [True] * len(CALLS)


def test_upload_to_a_frozen_server_ends_and_is_repeated(failing, own_sshd):
    def blocks() -> Iterator[bytes]:
        yield from [BLOCK] * 5
        own_sshd.freeze()
        yield from [BLOCK] * 60

    assert "no answer for" in refusal(failing.save, "x", IteratorFile(blocks(), "x"))
    own_sshd.thaw()
    assert not failing.exists("x")
    failing.save("x", content(BLOCK))
    assert read(failing, "x") == BLOCK


@pytest.mark.slow
def test_upload_through_full_buffers_to_a_frozen_server_ends(failing, own_sshd, monkeypatch):
    """Where the system takes no more bytes to send, paramiko tries forever."""
    connection_to = socket.create_connection

    def with_little_room(*arguments: Any, **options: Any) -> socket.socket:
        connection = connection_to(*arguments, **options)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        return connection

    def blocks() -> Iterator[bytes]:
        yield b"x"
        own_sshd.freeze()
        yield from [BLOCK] * 10

    monkeypatch.setattr(socket, "create_connection", with_little_room)
    assert "is unreachable (x)" in refusal(failing.save, "x", IteratorFile(blocks(), "x"))
    own_sshd.thaw()
    assert not failing.exists("x")


def test_download_from_a_frozen_server_ends(failing, own_sshd):
    failing.save("x", content(*[BLOCK] * 8))
    with failing.open("x") as file:
        file.read(1)
        own_sshd.freeze()
        assert "no answer for" in refusal(file.read)
        own_sshd.thaw()
        # It does not look like the end of the file.
        assert "unreachable" in refusal(file.read)


@pytest.mark.parametrize("method", ["save", "replace"])
def test_server_killed_before_the_rename_leaves_the_old_state(failing, own_sshd, monkeypatch, method):
    publish = module.publish
    if method == "replace":
        failing.save("x", content(b"old"))

    def killed(*arguments: Any, **options: Any) -> None:
        own_sshd.stop()
        publish(*arguments, **options)

    monkeypatch.setattr(module, "publish", killed)
    assert "is unreachable (x)" in refusal(getattr(failing, method), "x", content(BLOCK))
    monkeypatch.undo()
    own_sshd.start()
    assert set(failing.entries()) == ({"x", f"x{PARTIAL}"} if method == "replace" else {f"x{PARTIAL}"})
    getattr(failing, method)("x", content(b"new"))
    assert read(failing, "x") == b"new"
    assert set(failing.entries()) == {"x"}


def test_server_killed_while_writing_ends_the_upload(failing, own_sshd):
    def blocks() -> Iterator[bytes]:
        yield from [BLOCK] * 5
        own_sshd.stop()
        yield from [BLOCK] * 5

    assert "is unreachable (x)" in refusal(failing.save, "x", IteratorFile(blocks(), "x"))
    own_sshd.start()
    assert not failing.exists("x")


def test_server_killed_while_reading_ends_the_download(failing, own_sshd):
    failing.save("x", content(*[BLOCK] * 8))
    with failing.open("x") as file:
        assert file.read(1) == BLOCK[:1]
        own_sshd.stop()
        assert "is unreachable (x)" in refusal(file.read)
    own_sshd.start()
    assert read(failing, "x") == BLOCK * 8


def test_full_disk_is_refused_and_leaves_nothing(failing, own_sshd):
    own_sshd.limit_files(4 * len(BLOCK))
    failing.save("x", content(BLOCK))
    message = refusal(failing.replace, "x", content(*[BLOCK] * 5))
    assert message == (
        f"{failing.display_location}/x: the server refused a request: Failure.\n"
        f"Check that {own_sshd.user} may write there, and that the disk is not full."
    )
    assert set(failing.entries()) == {"x"}
    assert read(failing, "x") == BLOCK


def test_last_block_that_does_not_fit_is_noticed(failing, own_sshd):
    """Its answer is the last one, which paramiko would not wait for."""
    own_sshd.limit_files(len(BLOCK) - 1)
    assert "Failure" in refusal(failing.save, "x", content(BLOCK))
    assert failing.entries() == {}


def test_read_only_server_is_refused():
    if not find_sshd():
        pytest.skip(INSTALL)
    with sshd_server("internal-sftp -R") as server:
        for name in ("x", "old"):
            (server.files / name).write_bytes(b"x")
        storage = SftpBackupStorage(**server.options())
        assert read(storage, "x") == b"x"
        for name in ("delete", "replace", "save"):
            assert "the server refused a request: Permission denied" in refusal(CALLS[name], storage)
        assert {path.name for path in server.files.iterdir()} == {"x", "old"}


def test_failed_deletion_is_an_error(storage, sshd):
    (sshd.files / "x").mkdir()
    assert refusal(storage.delete, "x").startswith(f"{storage.display_location}/x: the server refused a request: ")
    assert (sshd.files / "x").exists()


# --- Threads, forks, closing ------------------------------------------------------------------------------------------


def test_threads_share_one_connection(storage):
    names = [f"x{number}" for number in range(6)]

    def write_and_read(name: str) -> bytes:
        storage.save(name, content(name.encode() * 100_000))
        return read(storage, name)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(write_and_read, names)) == [name.encode() * 100_000 for name in names]
    assert set(storage.entries()) == set(names)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_has_a_connection_of_its_own(storage):
    storage.save("x", content(*[BLOCK] * 4))
    with storage.open("x") as file:
        begun = file.read(10)
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                storage.save("child", content(b"child"))
                code = 0 if read(storage, "x") == BLOCK * 4 else 2
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert begun + file.read() == BLOCK * 4
    assert read(storage, "child") == b"child"


def test_forgotten_storage_ends_its_connection(sshd):
    storage = SftpBackupStorage(**sshd.options())
    assert not storage.exists("x")
    assert storage.server.current
    transport = storage.server.current.transport
    assert transport.is_active()
    del storage
    gc.collect()
    assert not transport.is_active()


def test_download_over_a_lost_connection_leaves_the_next_one_alone(storage):
    storage.save("x", content(*[BLOCK] * 8))
    with storage.open("x") as old:
        storage.close()
        with storage.open("x") as new:
            assert "is unreachable (x)" in refusal(old.read)
            assert new.read() == BLOCK * 8


def test_closed_storage_connects_again(storage):
    storage.save("x", content(b"x"))
    storage.close()
    storage.close()
    assert read(storage, "x") == b"x"


def test_closed_downloads_leave_no_open_files(storage):
    """A server has about a thousand for a connection."""
    storage.save("x", content(b"x"))
    for _ in range(1200):
        storage.open("x").close()
    assert read(storage, "x") == b"x"


MEMORY = """
import os, resource, sys
from django.conf import settings
settings.configure()
from ops.backups.compression import IteratorFile
from ops.backups.storage.sftp import SftpBackupStorage
from ops.utils.streams import blocks_of
storage = SftpBackupStorage(**{options!r})
storage.exists("x")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
block = os.urandom(2**20)
storage.save("x", IteratorFile((block for _ in range({blocks})), "x"))
with storage.open("x") as file:
    assert sum(map(len, blocks_of(file))) == {blocks} * 2**20
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def added_memory(sshd: Sshd, blocks: int) -> int:
    """MiB that a process needs to write and read a file of so many MiB."""
    script = MEMORY.format(options=sshd.options(), blocks=blocks)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_large_file_needs_little_memory(sshd):
    assert added_memory(sshd, 128) < 40


@pytest.mark.slow
def test_file_of_a_gigabyte_needs_little_memory(sshd):
    """During it, the keys of the connection are exchanged again."""
    assert added_memory(sshd, 1100) < 60


def test_answer_with_a_password_does_not_show_it(plain):
    storage = SftpBackupStorage(**plain.options())
    assert storage.server.printable(ValueError(f"{PASSWORD} \x1b[2J.")) == "… \N{REPLACEMENT CHARACTER}[2J"
