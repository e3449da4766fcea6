"""Runs a task of `ops.backups.untrusted.child` in a process with limits on memory, CPU time and file size.

An error in a parser, or a file that was made to exhaust the machine, ends that process and nothing else.
"""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ops.databases.postgres.client_programs import StdinWriter, terminate
from ops.errors import ArtifactInvalid
from ops.utils.environment import minimal_environment
from ops.utils.streams import blocks_of

CHILD = Path(__file__).with_name("child.py")
MEMORY = 512 << 20
"""Bytes of address space. Python with its decompressor takes about 60 MB."""
UNPACK_AT_LEAST, UNPACK_RATIO, UNPACK_AT_MOST = 32 << 20, 50, 50 * 10**9
"""Bytes to which any file may decompress; the ratio for larger files; bytes that no file may exceed."""
CPU_AT_LEAST, BYTES_PER_CPU_SECOND = 10, 4 * 10**6
"""Seconds that any file may take; the slowest task reads some ten times as many bytes in a second."""
HEADER_SIZE = 9
"""Bytes before each frame: its kind, and the length of its payload."""
TABLE, ROWS, RESULT, ERROR = b"T", b"R", b"D", b"E"
LOAD_BY_HAND = "If you trust the file, load it by hand into a database of its own."


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of the process: `unpacked` bytes of the file, `cpu` seconds, `memory` bytes."""

    unpacked: int
    cpu: int
    memory: int = MEMORY


def limits_for(size: int) -> Limits:
    """The limits for a stored file of `size` bytes."""
    unpacked = min(max(UNPACK_AT_LEAST, UNPACK_RATIO * size), UNPACK_AT_MOST)
    return Limits(unpacked=unpacked, cpu=CPU_AT_LEAST + unpacked // BYTES_PER_CPU_SECOND)


@dataclass(frozen=True)
class Frame:
    """One message of the process: of the kind TABLE, ROWS or RESULT."""

    kind: bytes
    payload: bytes

    def json(self) -> Any:
        return json.loads(self.payload)


def call(task: str, *, limits: Limits, feed: IO[bytes] | None = None, **arguments: Any) -> Any:
    """The result of `task`. Raises ArtifactInvalid when the file is refused or exceeds a limit."""
    *_, result = run(task, limits=limits, feed=feed, **arguments)
    return result.json()


def run(task: str, *, limits: Limits, feed: IO[bytes] | None = None, **arguments: Any) -> Generator[Frame]:
    """The frames of `task` as they come; the last one is its RESULT. Closing the generator ends the process.

    `feed` is the file as it is stored, on the process's standard input; it is read to its end. Raises ArtifactInvalid
    when the file is refused or exceeds a limit, and what reading `feed` raises.
    """
    with tempfile.TemporaryFile() as parameters, tempfile.TemporaryFile() as stderr:
        parameters.write(json.dumps({"limits": vars(limits), "arguments": arguments}).encode())
        parameters.seek(0)
        process = subprocess.Popen(
            # -I: neither the environment nor the current directory decides which code is imported.
            [sys.executable, "-I", str(CHILD), task, str(parameters.fileno())],
            env=minimal_environment(LC_ALL="C.UTF-8"),
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            pass_fds=[parameters.fileno()],
        )
        feeder = StdinWriter(blocks_of(feed), process) if feed else None
        try:
            last = None
            for last in frames_of(process.stdout):  # type: ignore[arg-type]
                if last.kind != RESULT:
                    yield last
            if feeder:
                feeder.finish()
            if last is None or last.kind != RESULT:
                raise process_error(process.wait(), limits, stderr)
            yield last
        finally:
            terminate(process)


def frames_of(stream: IO[bytes]) -> Generator[Frame]:
    """Raises ArtifactInvalid with the message of an ERROR frame. Ends early where the process did."""
    while len(header := stream.read(HEADER_SIZE)) == HEADER_SIZE:
        length = int.from_bytes(header[1:], "big")
        payload = stream.read(length)
        if len(payload) < length:
            return
        if header[:1] == ERROR:
            raise ArtifactInvalid(*json.loads(payload))
        yield Frame(header[:1], payload)


def process_error(code: int, limits: Limits, stderr: IO[bytes]) -> ArtifactInvalid:
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return ArtifactInvalid(
            f"Reading the file was stopped: it took more than {limits.cpu} s of CPU time, or more memory than is"
            " available. Nothing was changed.",
            LOAD_BY_HAND,
        )
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
    return ArtifactInvalid(f"The file could not be read: {lines[0][:200]}. Nothing was changed.", LOAD_BY_HAND)
