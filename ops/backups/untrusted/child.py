"""The process that reads untrusted files. `ops.backups.untrusted.process` starts it as a script, without Django.

It limits itself before it looks at the file. What it writes to standard output are frames (see `process.Frame`).
"""

import json
import os
import resource
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))

from ops.backups.untrusted import dump_tasks, sqlite_tasks
from ops.backups.untrusted.dump_tasks import emit
from ops.errors import ArtifactInvalid

TASKS: dict[str, Callable[..., Any]] = {
    "survey_dump": dump_tasks.survey,
    "read_dump_columns": dump_tasks.read_columns,
    "copy_dump_rows": dump_tasks.copy_rows,
    "unpack_sqlite": sqlite_tasks.unpack,
    "survey_sqlite": sqlite_tasks.survey,
    "read_sqlite_columns": sqlite_tasks.read_columns,
    "copy_sqlite_rows": sqlite_tasks.copy_rows,
    "check_sqlite_constraints": sqlite_tasks.check_constraints,
}


def main() -> None:
    task, descriptor = sys.argv[1], int(sys.argv[2])
    with os.fdopen(descriptor) as file:
        parameters = json.load(file)
    set_limits(**parameters["limits"])
    arguments = parameters["arguments"]
    if "kind" in arguments:
        # The file is on standard input.
        arguments["unpacked"] = parameters["limits"]["unpacked"]
    try:
        result = TASKS[task](**arguments)
    except ArtifactInvalid as error:
        fail(error)
    except MemoryError:
        memory = parameters["limits"]["memory"] // 10**6
        fail(ArtifactInvalid(f"Reading the file takes more than {memory} MB of memory. Nothing was changed."))
    except (sqlite3.Error, UnicodeDecodeError, OSError) as error:
        fail(ArtifactInvalid(f"The file cannot be read: {error}. Nothing was changed."))
    else:
        emit(b"D", json.dumps(result).encode())


def set_limits(*, unpacked: int, cpu: int, memory: int) -> None:
    """`unpacked` also bounds each file that is written, three times: a table has indexes."""
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, 3 * unpacked),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        _, most = resource.getrlimit(kind)
        wanted = value if most == resource.RLIM_INFINITY else min(value, most)
        try:
            resource.setrlimit(kind, (wanted, wanted))
        except (ValueError, OSError):
            # macOS knows no limit on address space.
            if kind != resource.RLIMIT_AS:
                raise


def fail(error: ArtifactInvalid) -> None:
    emit(b"E", json.dumps([error.message[:2000], error.hint[:2000]]).encode())


if __name__ == "__main__":
    main()
