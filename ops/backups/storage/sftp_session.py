"""An SFTP session with bounded memory, whose requests do not wait for the answers of earlier ones."""

import errno
import stat
from collections import deque
from typing import Any

import paramiko
from paramiko.sftp import (
    CMD_CLOSE,
    CMD_DATA,
    CMD_EXTENDED,
    CMD_EXTENDED_REPLY,
    CMD_HANDLE,
    CMD_INIT,
    CMD_OPEN,
    CMD_READ,
    CMD_STATUS,
    CMD_VERSION,
    CMD_WRITE,
    SFTP_EOF,
    SFTP_FLAG_CREATE,
    SFTP_FLAG_EXCL,
    SFTP_FLAG_READ,
    SFTP_FLAG_WRITE,
    SFTP_NO_SUCH_FILE,
    SFTP_OK,
    int64,
)

CHUNK = 32 * 2**10
"""Bytes in each request. Some servers take no more."""
AHEAD = 64
"""Requests of one file that may be unanswered, as in OpenSSH's own client: 2 MiB."""


class Refused(Exception):
    """The server answered that it does not do what was asked."""


class Answer:
    """What a server will have answered to one request."""

    kind = 0
    message: Any = None

    def _async_response(self, kind: int, message: Any, _number: int) -> None:
        """paramiko calls this."""
        self.kind, self.message = kind, message


class Session(paramiko.SFTPClient):  # type: ignore[misc]  # paramiko has no types
    """paramiko's client, which raises FileNotFoundError, or Refused where the server does not do what was asked.

    Not paramiko's files: `close` ignores the errors of the last writes, and reading ahead has no limit. One thread at
    a time.
    """

    def __init__(self, channel: Any) -> None:
        self.extensions: frozenset[str] = frozenset()
        super().__init__(channel)
        self.transport = channel.get_transport()
        self.unused: deque[bytes] = deque()
        """Handles of files that are no longer read. The next request closes them: a destructor must not wait."""

    def send(self, kind: int, *arguments: Any) -> Answer:
        answer = Answer()
        self._async_request(answer, kind, *arguments)
        return answer

    def wait(self, answer: Answer, expected: int = CMD_STATUS) -> Any:
        """The answer's message. Other requests may be answered first."""
        while not answer.kind:
            self._read_response()
        if answer.kind == CMD_STATUS:
            self._convert_status(answer.message)
        if answer.kind != expected:
            raise paramiko.SFTPError("an answer to another question")
        return answer.message

    def ask(self, kind: int, *arguments: Any, expected: int = CMD_STATUS) -> Any:
        while self.unused:
            self._async_request(type(None), CMD_CLOSE, self.unused.popleft())
        return self.wait(self.send(kind, *arguments), expected)

    def download(self, path: str) -> "Download":
        attributes = self.lstat(path)
        if not stat.S_ISREG(attributes.st_mode or 0):
            raise Refused("it is not a file")
        message = self.ask(CMD_OPEN, path, SFTP_FLAG_READ, paramiko.SFTPAttributes(), expected=CMD_HANDLE)
        return Download(self, message.get_binary(), attributes.st_size or 0)

    def upload(self, path: str) -> "Upload":
        """A new file of mode 0600."""
        attributes = paramiko.SFTPAttributes()
        attributes.st_mode = 0o600
        flags = SFTP_FLAG_WRITE | SFTP_FLAG_CREATE | SFTP_FLAG_EXCL
        return Upload(self, self.ask(CMD_OPEN, path, flags, attributes, expected=CMD_HANDLE).get_binary())

    def synchronize(self, handle: bytes) -> None:
        """Have the server write a file to its disk, where it can be asked to."""
        if "fsync@openssh.com" in self.extensions:
            self.ask(CMD_EXTENDED, "fsync@openssh.com", handle)

    def free_bytes(self, path: str) -> int | None:
        """Space for this user on the disk of `path`; None where the server does not tell."""
        if "statvfs@openssh.com" not in self.extensions:
            return None
        answer = self.ask(CMD_EXTENDED, "statvfs@openssh.com", path, expected=CMD_EXTENDED_REPLY)
        # PROTOCOL of OpenSSH, 4.4: f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, …
        _, fragment, _, _, available = (int(answer.get_int64()) for _ in range(5))
        return fragment * available

    def _send_version(self) -> int:
        """Begin the session; paramiko calls this. It would forget what the server knows besides version 3."""
        hello = paramiko.Message()
        hello.add_int(3)
        self._send_packet(CMD_INIT, hello)
        kind, data = self._read_packet()
        if kind != CMD_VERSION:
            raise paramiko.SFTPError("an answer of another protocol")
        message = paramiko.Message(data)
        version = int(message.get_int())
        names = []
        while message.get_so_far() != data:
            names.append(message.get_text())
            message.get_binary()
        self.extensions = frozenset(names)
        return version

    def _convert_status(self, message: Any) -> None:
        """Raise what a status means. paramiko, which calls this, would raise OSError without the code."""
        code, text = message.get_int(), message.get_text()
        if code == SFTP_EOF:
            raise EOFError(text)
        if code == SFTP_NO_SUCH_FILE:
            raise FileNotFoundError(errno.ENOENT, text)
        if code != SFTP_OK:
            raise Refused(text or f"status {code}")


class Upload:
    """A new file that is being written."""

    def __init__(self, session: Session, handle: bytes) -> None:
        self.session, self.handle = session, handle
        self.size = 0
        self.waiting: deque[Answer] = deque()

    def write(self, block: bytes) -> None:
        for start in range(0, len(block), CHUNK):
            chunk = bytes(block[start : start + CHUNK])
            self.waiting.append(self.session.send(CMD_WRITE, self.handle, int64(self.size), chunk))
            self.size += len(chunk)
            if len(self.waiting) > AHEAD:
                self.session.wait(self.waiting.popleft())

    def finish(self) -> None:
        """Wait until everything is written, if possible to the server's disk."""
        while self.waiting:
            self.session.wait(self.waiting.popleft())
        self.session.synchronize(self.handle)
        self.session.ask(CMD_CLOSE, self.handle)


class Download:
    """A file that is being read, from front to back."""

    def __init__(self, session: Session, handle: bytes, size: int) -> None:
        self.session, self.handle, self.size = session, handle, size
        self.requested = 0
        self.waiting: deque[tuple[Answer, int, int]] = deque()
        """With offset and length."""

    def read(self) -> bytes:
        """The next bytes; none at the end."""
        while self.requested < self.size and len(self.waiting) < AHEAD:
            length = min(CHUNK, self.size - self.requested)
            self.waiting.append((self.send(self.requested, length), self.requested, length))
            self.requested += length
        if not self.waiting:
            return b""
        answer, offset, length = self.waiting.popleft()
        data = self.data(answer)
        while len(data) < length:
            # A server may send less than it was asked for.
            data += self.data(self.send(offset + len(data), length - len(data)))
        return data

    def send(self, offset: int, length: int) -> Answer:
        return self.session.send(CMD_READ, self.handle, int64(offset), length)

    def data(self, answer: Answer) -> bytes:
        try:
            return bytes(self.session.wait(answer, CMD_DATA).get_string())
        except EOFError as error:
            raise Refused("the file has become shorter") from error
