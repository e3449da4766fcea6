"""The files of folders and archives: which are read, and hostile ones."""

import contextlib
import io
import os
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homerack.inventory.imports.device_types.reading import Found, SourceFile, read_device_types
from homerack.inventory.imports.device_types.sources import files_in, files_of
from homerack.inventory.imports.refusals import Refused
from tests.inventory.imports.support import PDU, SWITCH, device_type, make_archive, read, read_archive

A, B = device_type(model="A"), device_type(model="B")


def names(results: list[Found | Refused]) -> list[str]:
    """The sources of what was read, and refusals as texts."""
    return [result.source if isinstance(result, Found) else str(result) for result in results]


def read_path(path: Path) -> list[str]:
    return names(read_device_types(files_in(path)))


def write(folder: Path, *paths: str) -> None:
    for number, path in enumerate(paths):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(device_type(model=f"M{number}"))


# --- Folders ----------------------------------------------------------------------------------------------------------
def test_a_folder_is_read_with_the_folders_below_it(tmp_path: Path) -> None:
    write(tmp_path, "z.yaml", "Acme/b.yml", "Acme/A.YAML", "README.md", "a.yaml.bak", ".hidden.yaml", ".git/c.yaml")
    assert read_path(tmp_path) == ["Acme/A.YAML", "Acme/b.yml", "z.yaml"]


def test_of_the_public_library_the_device_types_are_read(tmp_path: Path) -> None:
    write(tmp_path, "device-types/Acme/a.yaml", "module-types/Acme/b.yaml", "rack-types/c.yaml", "mkdocs.yml")
    assert read_path(tmp_path) == ["device-types/Acme/a.yaml"]
    assert read_path(tmp_path / "device-types") == ["Acme/a.yaml"]
    write(tmp_path / "part", "Acme/a.yaml", "module-types/Acme/b.yaml")
    assert read_path(tmp_path / "part") == ["Acme/a.yaml"]


def test_one_file(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    assert read_path(tmp_path / "a.txt") == ["a.txt"]


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Root reads every file, and no test folder of its own lets other users in."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_what_cannot_be_read_is_named() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        write(folder, "a.yaml", "secret.yaml", "closed/b.yaml")
        os.mkfifo(folder / "pipe.yaml")
        (folder / "link").symlink_to(folder)
        (folder / "broken.yaml").symlink_to("nowhere")
        for path, mode in (("secret.yaml", 0), ("closed", 0), (".", 0o755)):
            (folder / path).chmod(mode)
        with unprivileged():
            results = read_path(folder)
        (folder / "closed").chmod(0o700)
        assert sorted(results) == sorted(
            [
                f"{folder}/closed: The file cannot be read: Permission denied.",
                "a.yaml",
                "broken.yaml: The file cannot be read: No such file or directory.",
                "link: A link to a folder is not followed.",
                "pipe.yaml: The file cannot be read: this is not a regular file.",
                "secret.yaml: The file cannot be read: Permission denied.",
            ]
        )
        missing = [f"{folder}/{path}" for path in ("no.zip", "a.yaml/b")]
        assert [read_path(Path(path)) for path in missing] == [
            [f"{missing[0]}: The file cannot be read: No such file or directory."],
            [f"{missing[1]}: The file cannot be read: Not a directory."],
        ]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "README.md")
    assert read_path(tmp_path) == [f"{tmp_path}: There are no device types (.yaml, .yml) here."]


# --- Archives ---------------------------------------------------------------------------------------------------------
def test_an_archive_is_read_whatever_its_name_is() -> None:
    content = make_archive([("lib/", ""), ("lib/Acme/b.yaml", B), ("lib/a.yml", A), ("lib/__MACOSX/._a.yml", "x")])
    assert names(read_archive(content)) == ["lib/Acme/b.yaml", "lib/a.yml"]
    assert names(read_archive(content, "types.yaml")) == ["lib/Acme/b.yaml", "lib/a.yml"]


def test_an_archive_of_the_public_library() -> None:
    root = "devicetype-library-master"
    content = make_archive(
        [
            (f"{root}/device-types/Acme/a.yaml", A),
            (f"{root}/module-types/Acme/b.yaml", B),
            (f"{root}/elevation-images/Acme/a.front.png", b"\x89PNG"),
            (f"{root}/.github/workflows/ci.yml", "on: push"),
        ]
    )
    assert names(read_archive(content)) == [f"{root}/device-types/Acme/a.yaml"]


def test_an_archive_without_device_types_is_refused() -> None:
    refusal = ["types.zip: There are no device types (.yaml, .yml) in this archive."]
    assert names(read_archive(make_archive([]))) == refusal
    assert names(read_archive(make_archive([("README.md", "x")]))) == refusal


@pytest.mark.parametrize("path", ["../a.yaml", "b/../../a.yaml", "/etc/a.yaml", "..\\a.yaml", "C:\\a.yaml"])
def test_a_path_that_leaves_the_archive_is_refused(path: str) -> None:
    shown = path.replace("\\", "/")
    assert names(read_archive(make_archive([(path, A), ("b.yaml", B)]))) in (
        [f"{shown}: The path leads out of the archive.", "b.yaml"],
        ["b.yaml", f"{shown}: The path leads out of the archive."],
    )


def test_names_are_shown_in_printable_characters() -> None:
    [result] = read_archive(make_archive([("a\x1b[31m\u202e\n.yaml", A)]))
    assert result.source == "a�[31m� .yaml"
    [result] = read_archive(make_archive([("x" * 1000 + ".yaml", A)]))
    assert len(result.source) == 200


def test_two_files_of_one_path_are_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = make_archive([("a.yaml", A), ("a.yaml", B)])
    assert names(read_archive(content)) == ["a.yaml: The archive has 2 files of this path."]


def test_an_encrypted_file_and_an_unusual_compression_are_refused() -> None:
    content = bytearray(make_archive([("a.yaml", A)]))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert names(read_archive(bytes(content))) == ["a.yaml: The file is encrypted."]
    assert names(read_archive(make_archive([("a.yaml", A)], compression=zipfile.ZIP_BZIP2))) == [
        "a.yaml: The file is compressed in an unusual way. Make the archive again."
    ]


def test_a_damaged_file_is_refused_and_the_others_are_read() -> None:
    content = make_archive([("a.yaml", A), ("b.yaml", B)], compression=zipfile.ZIP_STORED)
    damaged = content.replace(b"model: A", b"model: X", 1)
    assert names(read_archive(damaged)) == [
        "a.yaml: The file is damaged in the archive: Bad CRC-32 for file 'a.yaml'.",
        "b.yaml",
    ]
    assert names(read_archive(content[:-10])) == ["types.zip: The archive is damaged: File is not a zip file."]


def test_a_small_archive_of_large_files_is_read_up_to_the_limit() -> None:
    """0.1 MB of archive that hold 100 MB."""
    content = make_archive([(f"{number}.yaml", b"#" * 5_000_000) for number in range(20)])
    assert len(content) < 110_000
    tracemalloc.start()
    results = read_archive(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(results[0]) == "0.yaml: The file is larger than 1 MB."
    assert len(results) == 20
    assert peak < 10_000_000


def test_the_directory_of_an_archive_is_bounded() -> None:
    """zipfile makes an object of about 600 bytes for each entry, and an entry may have 47."""
    archive = make_archive([("a.yaml", A)])
    end = archive.index(b"PK\x05\x06")
    start = archive.index(b"PK\x01\x02")
    many = archive[start:end] * 100_000
    fields = struct.pack("<4H2LH", 0, 0, 0xFFFF, 0xFFFF, len(many), start, 0)
    tracemalloc.start()
    results = read_archive(archive[:start] + many + b"PK\x05\x06" + fields)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert names(results) == ["types.zip: The archive is damaged: it lists too many files."]
    assert peak < 40_000_000


# --- Anything ---------------------------------------------------------------------------------------------------------
def assert_safe(results: list[Found | Refused]) -> None:
    """What was read can be stored in PostgreSQL and shown in a terminal."""
    for result in results:
        shown = str(result) if isinstance(result, Refused) else f"{result.source}{result.manufacturer}{result.model}"
        shown.encode()
        assert shown.isprintable()
        if isinstance(result, Found):
            assert "\0" not in f"{result}".encode().decode()
            assert result.height_u is None or 0 <= result.height_u <= 100
            assert result.weight_kg is None or 0 <= result.weight_kg < 100_001
            assert all(count > 0 for count in result.ports.values())


FRAGMENTS = st.sampled_from(
    [
        *SWITCH.splitlines(keepends=True),
        *PDU.splitlines(keepends=True),
        "---\n",
        "- ",
        "  ",
        "[",
        "{",
        "&a ",
        "*a",
        "!!x ",
    ]
)
TEXTS = st.lists(FRAGMENTS | st.text(max_size=8) | st.sampled_from(["\n", ": ", "'", '"', "\\", "|\n", "?", "%"])).map(
    "".join
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS)
def test_reading_any_text_raises_nothing(text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")
    results = read_device_types([SourceFile(name="a.yaml", content=content)])
    assert results
    assert_safe(results)


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=300))
def test_reading_any_bytes_raises_nothing(content: bytes) -> None:
    for start in (b"", b"PK\x03\x04", b"\xef\xbb\xbf"):
        results = read_device_types(files_of("a", io.BytesIO(start + content)))
        assert results
        assert_safe(results)


ARCHIVE = make_archive([("Acme/a.yaml", SWITCH), ("b.yml", PDU), ("c/", ""), ("é.yaml", A)])


@settings(max_examples=500, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(ARCHIVE) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    end=st.integers(len(ARCHIVE) - 60, len(ARCHIVE)) | st.just(len(ARCHIVE)),
)
def test_reading_a_damaged_archive_raises_nothing(changes: list[tuple[int, int]], end: int) -> None:
    content = bytearray(ARCHIVE)
    for position, value in changes:
        content[position] = value
    results = read_archive(bytes(content[:end]))
    assert results
    assert_safe(results)


@settings(max_examples=300, deadline=None)
@given(
    line=st.integers(0, len(SWITCH.splitlines()) - 1),
    value=st.text(max_size=12) | st.sampled_from(["[]", "{}", "~", "''", "|", "9" * 400, ".inf", ".nan", "-0", "1."]),
)
def test_any_value_of_a_field_is_read_or_refused_by_the_name_of_its_line(line: int, value: str) -> None:
    lines = SWITCH.splitlines()
    name, colon, _ = lines[line].partition(":")
    lines[line] = f"{name}{colon} {value}"
    results = read("\n".join(lines).encode("utf-8", "surrogatepass"))
    assert_safe(results)
    assert all(isinstance(result, Found) or result.line for result in results)
