"""HomeRack's commands in their own environment."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.forked import ROOT
from tests.support.postgres import die_with_parent


class Home:
    """One host: its variables, and a folder for its files."""

    def __init__(self, folder: Path, **variables: str) -> None:
        own = {"DJANGO_SETTINGS_MODULE": "tests.settings", "BACKUP_DIR": str(folder / "backups"), "REDIS_URL": ""}
        self.variables = own | variables

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=os.environ | self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call; nothing else can tell a child to follow
        )

    def manage(self, *arguments: str, code: int = 0) -> str:
        """Both outputs of a command that ends with `code`."""
        with self.start(*arguments) as process:
            output, errors = process.communicate(timeout=120)
        assert process.returncode == code, output + errors
        return output + errors

    def json(self, *arguments: str) -> Any:
        with self.start(*arguments, "--json") as process:
            output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, output + errors
        return json.loads(output)

    def python(self, code: str) -> str:
        return self.manage("shell", "--no-imports", "-c", code).strip()
