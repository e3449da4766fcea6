"""Makes the keys of backups that an installation lacks, as lines of an environment file.

    python -m homerack.config.keys .env     adds them to the file, or makes it with DEBUG and SECRET_KEY as well
    python -m homerack.config.keys -        reads an environment file from standard input, and prints them

A key is in no argument, which other users of the machine could read. One that the environment has is not made.
"""

import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ops.backups.encryption import new_identity


def new_secret() -> str:
    return secrets.token_urlsafe(50)


KEYS: Mapping[str, Callable[[], str]] = {"BACKUP_SIGNING_KEY": new_secret, "BACKUP_AGE_IDENTITY": new_identity}
"""By variable, how its value is made."""


def missing_lines(text: str, environment: Mapping[str, str]) -> Iterator[str]:
    """The lines that an environment file with the content `text` lacks."""
    for name, make in KEYS.items():
        in_file = re.search(rf"^(?:export )?{name}(?:_FILE)?=.*\S", text, re.MULTILINE)
        if not (in_file or environment.get(name) or environment.get(f"{name}_FILE")):
            yield f"{name}={make()}\n"


def complete(path: Path) -> None:
    """Add what is missing to the file, which only its owner can read if it is new."""
    is_new = not path.exists()
    text = f"DEBUG=true\nSECRET_KEY={new_secret()}\n" if is_new else path.read_text(encoding="utf-8")
    lines = [*([text] if is_new else []), *missing_lines(text, os.environ)]
    if not lines:
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as file:
        file.write(("" if is_new or text.endswith("\n") or not text else "\n") + "".join(lines))


def main(argument: str) -> None:
    if argument == "-":
        text = sys.stdin.read()
        # The environment is that of a container which got the file from elsewhere.
        lines = "".join(missing_lines(text, {}))
        sys.stdout.write(("\n" if lines and text and not text.endswith("\n") else "") + lines)
    else:
        complete(Path(argument))


if __name__ == "__main__":
    main(sys.argv[1])
