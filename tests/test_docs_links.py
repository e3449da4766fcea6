"""The documents name every setting and command, their links lead somewhere, and none repeats another."""

import itertools
import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from ops.conf import Conf, Setting

ROOT = Path(__file__).parent.parent
SOURCES = sorted(ROOT.glob("homerack/**/*.py"))
READS = re.compile(r'(?:env\.|= |\()get_([a-z_]+)\(\s*"([A-Z][A-Z0-9_]+)"')
DOCUMENTS = sorted(
    str(path.relative_to(ROOT)) for folder in (".", "docs", "ops/deploy") for path in (ROOT / folder).glob("*.md")
)
SETTINGS, OPS_SETTINGS = (ROOT / "docs/settings.md").read_text().split("## Settings of ops")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
DJANGO_OPTIONS = {
    option for action in BaseCommand().create_parser("manage.py", "")._actions for option in action.option_strings
}
BENCHED = {"--data-only", "--inserts", "--rounds", "--rows", "--sizes"}
"""Options in docs/performance.md."""
LINK = re.compile(r"\]\(([^)\s:]*)\)|src(?:set)?=\"([^\"]+)\"")


def variables() -> list[str]:
    """Every variable that the settings read from the environment."""
    found = {match for source in SOURCES for match in READS.findall(source.read_text())}
    assert len(found) > 8
    return sorted({name for _, name in found})


def text_of(document: str) -> str:
    return (ROOT / document).read_text()


def first_cells(text: str) -> list[str]:
    """The names in the first column of the tables."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", row)]


def anchors_of(document: Path) -> set[str]:
    """The anchors of headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", CODE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def sentences_of(document: str) -> set[str]:
    prose = " ".join(CODE.sub("", text_of(document)).split())
    return {sentence.strip("-*| ") for sentence in re.split(r"(?<=[.:!?])\s+|\|", prose) if len(sentence) >= 50}


@pytest.mark.parametrize("name", variables())
def test_variable_is_in_settings_and_example_when_code_reads_it(name: str) -> None:
    assert name in first_cells(SETTINGS)
    assert re.search(rf"^#? ?{name}=", text_of(".env.example"), re.MULTILINE)


def test_settings_name_no_variable_that_code_does_not_read() -> None:
    assert sorted(first_cells(SETTINGS)) == variables()


def test_settings_of_ops_are_complete_with_their_defaults() -> None:
    expected = {name: setting.default for name, setting in vars(Conf).items() if isinstance(setting, Setting)}
    rows = [line.split("|")[1:3] for line in OPS_SETTINGS.splitlines() if line.startswith("| `")]
    documented = {}
    for names, defaults in (([*re.findall(r"`([^`]+)`", cell)] for cell in row) for row in rows):
        documented |= dict(zip(names, defaults * len(names) if len(defaults) == 1 else defaults, strict=False))
    assert documented == {
        name: f'"{default}"' if isinstance(default, str | Path) else repr(default) for name, default in expected.items()
    }


@pytest.mark.parametrize(
    "command",
    sorted(path.stem for app in ("homerack", "ops") for path in (ROOT / app).glob("**/management/commands/[a-z]*.py")),
)
def test_command_is_in_commands(command: str) -> None:
    assert re.search(rf"^\| `{command}\b", text_of("docs/commands.md"), re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_pictures_lead_to_files_and_headings(document: str) -> None:
    for target in map("".join, LINK.findall(CODE.sub("", text_of(document)))):
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), target
        assert not anchor or anchor in anchors_of(file), target


def test_index_links_every_document() -> None:
    index = text_of("docs/index.md")
    others = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {name for name in others if f"]({name})" not in index} == set()


@pytest.mark.parametrize("document", ["docs/ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_named_files_exist(document: str) -> None:
    names = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.(?:py|md|sh|toml))`", text_of(document)))
    known = [f"/{path.relative_to(ROOT)}" for path in ROOT.glob("[a-z]*/**/*.*")] + [
        f"/{p.name}" for p in ROOT.iterdir()
    ]
    assert names
    assert {name for name in names if not any(path.endswith(f"/{name}") for path in known)} == set()


def test_functions_named_in_architecture_exist() -> None:
    sources = "\n".join(path.read_text() for app in ("homerack", "ops") for path in (ROOT / app).glob("**/*.py"))
    text = text_of("docs/ARCHITECTURE.md")
    in_files = re.findall(r"`([a-z_]+)\(\)`\s+in\s+`([a-z_/]+\.py)`", text)
    assert len(in_files) > 10
    for name, file in in_files:
        paths = [path for app in ("homerack", "ops") for path in (ROOT / app).glob(f"**/{Path(file).name}")]
        found = [path for path in paths if str(path).endswith(f"/{file}")]
        assert any(re.search(rf"^def {name}\(", path.read_text(), re.MULTILINE) for path in found), (name, file)
    names = re.findall(r"`([a-z_]+)\(\)`|`([A-Z]\w+[a-z])`", text)
    assert [name for name in map("".join, names) if not re.search(rf"\b(?:def|class) {name}\b", sources)] == []


def test_options_in_the_documents_are_those_of_the_commands() -> None:
    documented = "\n".join(text_of(name) for name in DOCUMENTS if name.startswith(("README", "docs/")))
    options: dict[str, set[str]] = {}
    for name, app in get_commands().items():
        if str(app).partition(".")[0] in {"homerack", "ops"}:
            parser = load_command_class(str(app), name).create_parser("manage.py", name)
            options[name] = {option for action in parser._actions for option in action.option_strings}
    own = {name: found - DJANGO_OPTIONS for name, found in options.items()}
    for name, found in own.items():
        assert [option for option in found if option not in documented] == [], name
    # Django's, gunicorn's, and those of the deployment's scripts.
    of_others = {"--deploy", "--database", "--no-input", "--preload", "--back-to-sqlite", "--recover-from", *BENCHED}
    assert set(re.findall(r"(--[a-z][a-z-]+)", documented)) - of_others <= set().union(*options.values())


def test_excerpts_of_contributing_are_the_code() -> None:
    excerpts = re.findall(r"^```python\n# (\S+)\n(.*?)^```", text_of("CONTRIBUTING.md"), re.MULTILINE | re.DOTALL)
    assert len(excerpts) > 8
    for path, excerpt in excerpts:
        code = [line.strip() for line in text_of(path).splitlines()]
        assert [line for line in excerpt.splitlines() if line.strip() not in code] == [], path


def test_readme_is_at_most_180_lines() -> None:
    assert len(text_of("README.md").splitlines()) <= 180


def test_no_sentence_is_in_two_documents() -> None:
    twice = {
        (sentence, first, second)
        for first, second in itertools.combinations([name for name in DOCUMENTS if name != "CHANGELOG.md"], 2)
        for sentence in sentences_of(first) & sentences_of(second)
    }
    assert twice == set()
