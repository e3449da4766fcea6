"""SFTP connections to a server whose host key is known."""

import base64
import binascii
import hashlib
import logging
import re
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from ops.backups.storage.entries import SILENCE
from ops.backups.storage.sftp_session import Session

LOG = "ops.backups.storage.ssh.paramiko"
# Its errors are raised as well. The log would repeat each with a traceback.
logging.getLogger(LOG).setLevel(logging.CRITICAL + 1)

SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
"""The algorithms of a type of key, where they have other names."""
FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""They encrypt and authenticate in one pass. paramiko prefers others."""
KEY = re.compile(r"(?<![^\s,])([a-z0-9@.-]+)\s+(AAAA[A-Za-z0-9+/]+)")
"""Type and key, which begins with the length of the type: three bytes are 0."""
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True)
class HostKey:
    """The public key of a server. `type` is for example ``ssh-ed25519``."""

    type: str
    content: bytes

    @property
    def text(self) -> str:
        """As ``ssh-keyscan`` prints it, without the host."""
        return f"{self.type} {base64.b64encode(self.content).decode()}"

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` shows it."""
        digest = base64.b64encode(hashlib.sha256(self.content).digest()).decode()
        return f"SHA256:{digest.rstrip('=')} ({self.type})"


class WrongHostKey(Exception):
    """The server has another key than those that it may have."""

    def __init__(self, found: HostKey) -> None:
        super().__init__(found.fingerprint)
        self.found = found


class UnreadableKey(Exception):
    """A private key, which is the argument, is missing or damaged, or has another passphrase."""


def host_keys(text: str) -> list[HostKey]:
    """The keys in `text`: lines as ``ssh-keyscan`` prints them, or keys separated by commas. Raises ValueError."""
    lines = [line.strip() for line in text.splitlines()]
    return [key for line in lines if line and not line.startswith("#") for key in keys_of(line)]


def keys_of(line: str) -> list[HostKey]:
    keys = [HostKey(kind, decoded(encoded)) for kind, encoded in KEY.findall(line)]
    # The type is also the beginning of the key (RFC 4253, 6.6).
    if not keys or not all(
        key.content.startswith(struct.pack(">I", len(key.type)) + key.type.encode()) for key in keys
    ):
        raise ValueError(f"{line!r} is not a host key.")
    return keys


def decoded(encoded: str) -> bytes:
    """Nothing for what is not Base64."""
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    except binascii.Error:
        return b""


def connect(host: str, port: int, user: str, *, trusted: list[HostKey], identity_file: str, password: str) -> Session:
    """A session within twice SILENCE. Raises WrongHostKey, UnreadableKey, and errors of paramiko and of the system."""
    connection = socket.create_connection((host, port), timeout=min(SILENCE, 15))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # paramiko tries forever to send to a server that no longer receives.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENCE * 1000))
    transport = paramiko.Transport(connection)
    # Some of its steps have no time limit, and others have one each.
    silence = threading.Timer(SILENCE, transport.close)
    silence.daemon = True
    silence.start()
    try:
        handshake(transport, trusted)
        authenticate(transport, user, identity_file, password)
        session = Session.from_transport(transport)
    except BaseException as error:
        expired = not silence.is_alive()
        silence.cancel()
        transport.close()
        if expired and isinstance(error, (paramiko.SSHException, EOFError)):
            raise TimeoutError from error
        raise
    silence.cancel()
    session.get_channel().settimeout(SILENCE)
    return session  # type: ignore[no-any-return]


def handshake(transport: Any, trusted: list[HostKey]) -> None:
    transport.set_log_channel(LOG)
    options = transport.get_security_options()
    known = [name for key in trusted for name in SIGNATURES.get(key.type, (key.type,))]
    # A server may have keys of several types. It shows the first one that both sides know.
    options.key_types = sorted(options.key_types, key=lambda name: name not in known)
    options.ciphers = sorted(options.ciphers, key=lambda name: name not in FAST_CIPHERS)
    transport.clear_to_send_timeout = SILENCE
    transport.start_client()
    key = transport.get_remote_server_key()
    found = HostKey(key.get_name(), key.asbytes())
    if found not in trusted:
        raise WrongHostKey(found)


def authenticate(transport: Any, user: str, identity_file: str, password: str) -> None:
    """With the key of `identity_file`, or the password, or, where neither is given, with a key of ``~/.ssh``.

    With both, the password is that of the file. An agent is not asked: it would make what succeeds depend on who is
    signed in.
    """
    if password and not identity_file:
        transport.auth_password(user, password)
        return
    defaults = [path for name in DEFAULT_KEYS if (path := Path.home() / ".ssh" / name).exists()]
    refusal = paramiko.AuthenticationException("there is no key to try")
    for path in [Path(identity_file)] if identity_file else defaults:
        try:
            transport.auth_publickey(user, private_key(path, password))
        except paramiko.AuthenticationException as error:
            refusal = error
        else:
            return
    raise refusal


def private_key(path: Path, passphrase: str) -> Any:
    try:
        return paramiko.PKey.from_path(path, passphrase.encode() or None)
    except (OSError, ValueError, TypeError, paramiko.SSHException) as error:
        raise UnreadableKey(str(path)) from error
