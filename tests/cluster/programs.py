"""Finds the programs of the cluster, and installs those that are missing where it can.

etcd and HAProxy are packages of Debian. Patroni comes from PyPI, into ``.venv/patroni``.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.postgres import find_binaries, unprivileged_user

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
PATRONI = (ROOT / ".venv").resolve() / "patroni"
PACKAGES = {"etcd": "etcd-server", "haproxy": "haproxy"}
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
"""HAProxy is where only root searches."""


class ProgramMissing(Exception):
    """Programs are missing and cannot be installed; the message names them, and says how to install them."""


@dataclass(frozen=True, kw_only=True)
class Programs:
    etcd: Path
    haproxy: Path
    patroni: Path
    postgres: Path
    """The directory of PostgreSQL's programs."""


def find_or_install() -> Programs:
    """Raises ProgramMissing."""
    if sys.platform != "linux":
        raise ProgramMissing("the cluster needs Linux")
    PATRONI.parent.mkdir(exist_ok=True)
    with PATRONI.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return Programs(
            etcd=find_or_install_package("etcd"),
            haproxy=find_or_install_package("haproxy"),
            patroni=find_or_install_patroni(),
            postgres=find_postgres(),
        )


def find_or_install_package(name: str) -> Path:
    if not shutil.which(name, path=SEARCH_PATH) and os.geteuid() == 0 and shutil.which("apt-get"):
        run_quietly("apt-get", "update")
        run_quietly("apt-get", "install", "-y", "--no-install-recommends", PACKAGES[name])
    if found := shutil.which(name, path=SEARCH_PATH):
        return Path(found)
    raise ProgramMissing(f"{name} is not installed (apt-get install {PACKAGES[name]})")


def find_or_install_patroni() -> Path:
    """``patroni`` in an environment whose interpreter the user of PostgreSQL can execute."""
    installed = PATRONI / "requirements.txt"
    if not installed.exists() or installed.read_text() != REQUIREMENTS.read_text():
        shutil.rmtree(PATRONI, ignore_errors=True)
        run_quietly(find_interpreter(), "-m", "venv", "--without-pip", str(PATRONI))
        # fmt: off
        done = run_quietly(sys.executable, "-m", "pip", "--python", str(PATRONI / "bin" / "python"), "install",
                           "--disable-pip-version-check", "--no-deps", "-r", str(REQUIREMENTS))
        # fmt: on
        if done:
            shutil.copy(REQUIREMENTS, installed)
    program = PATRONI / "bin" / "patroni"
    if not installed.exists() or not can_run(str(program), "--version"):
        raise ProgramMissing("Patroni is not installed (.venv/patroni, from tests/cluster/requirements.txt)")
    return program


def find_interpreter() -> str:
    """Raises ProgramMissing."""
    base = str(getattr(sys, "_base_executable", sys.executable))
    for candidate in (base, "/usr/local/bin/python3", "/usr/bin/python3"):
        if can_run(candidate, "-c", "import venv, sys; sys.exit(sys.version_info < (3, 11))"):
            return candidate
    raise ProgramMissing(f"the user {unprivileged_user()} cannot run a Python 3.11 (apt-get install python3)")


def find_postgres() -> Path:
    binaries = find_binaries()
    if not (binaries / "pg_rewind").exists():
        raise ProgramMissing(f"pg_rewind is not in {binaries} (apt-get install postgresql-15)")
    return binaries


def can_run(*command: str) -> bool:
    """Whether the user of PostgreSQL can, which is not root."""
    try:
        done = subprocess.run(command, user=unprivileged_user(), capture_output=True, cwd="/", check=False)
    except OSError:
        return False
    return done.returncode == 0


def run_quietly(*command: str) -> bool:
    """Whether it succeeded. The caller looks for what it should have installed."""
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0
