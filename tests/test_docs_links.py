"""The documents name what there is: every variable, every command."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(ROOT.glob("homerack/**/*.py"))
READS = re.compile(r'(?:env\.|= |\()get_([a-z_]+)\(\s*"([A-Z][A-Z0-9_]+)"')


def variables() -> list[str]:
    found = {match for source in SOURCES for match in READS.findall(source.read_text())}
    assert len(found) > 8
    return sorted({name for _, name in found})


@pytest.mark.parametrize("name", variables())
def test_every_variable_is_in_the_readme_and_the_example(name):
    assert f"`{name}`" in (ROOT / "README.md").read_text()
    assert re.search(rf"^#? ?{name}=", (ROOT / ".env.example").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "command",
    sorted(path.stem for app in ("homerack", "ops") for path in (ROOT / app).glob("**/management/commands/[a-z]*.py")),
)
def test_every_command_is_in_the_readme(command):
    assert command in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "document", ["README.md", "docs/ARCHITECTURE.md", "docs/console.md", "docs/ops-in-your-project.md"]
)
def test_links_and_pictures_lead_somewhere(document):
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#:]+)[^):]*\)|src(?:set)?=\"([^\"]+)\"", text):
        path = "".join(target)
        assert ((ROOT / document).parent / path).exists(), path
