"""The files of a deployment agree with each other and with the settings. Docker is not needed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.machine import SCRIPT, Machine
from tests.test_docs_links import variables

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = (ROOT / ".env.production.example").read_text()
COMPOSE = (ROOT / "docker-compose.prod.yml").read_text()
ELSEWHERE = (ROOT / "docker-compose.elsewhere.yml").read_text()
OWN_PROXY = (ROOT / "docker-compose.own-proxy.yml").read_text()
SECRETS = ("SECRET_KEY", "POSTGRES_PASSWORD", "POSTGRES_SUPERUSER_PASSWORD", "REDIS_PASSWORD")
MADE_BY_COMPOSE = EXAMPLE[EXAMPLE.index("# --- Set by docker-compose.prod.yml") :]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Each test writes its .env.production, or removes it."""
    return Machine(tmp_path_factory.mktemp("machine"))


def output_of(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def assignments() -> dict[str, str]:
    return dict(re.findall(r"^#? ?([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))


@pytest.mark.parametrize("name", sorted({*variables(), *re.findall(r"\$\{([A-Z_]+)", COMPOSE)}))
def test_variable_is_in_the_example(name: str) -> None:
    assert name in assignments() or re.search(rf"\b{name}\b", MADE_BY_COMPOSE)


@pytest.mark.parametrize("name", assignments())
def test_variable_of_the_example_is_read(name: str) -> None:
    read_by_others = {"COMPOSE_PROJECT_NAME", "FRONT", "WEB_CONCURRENCY"}
    # Those of storage locations have names that users choose: tests/test_env_locations.py.
    assert (
        name in variables()
        or f"${{{name}" in COMPOSE + ELSEWHERE + OWN_PROXY
        or name in read_by_others
        or name.startswith("BACKUP_LOCATION_")
    )


def test_example_has_the_defaults_of_compose() -> None:
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", COMPOSE + OWN_PROXY))
    assert {name: assignments().get(name, default) for name, default in defaults.items()} == defaults | {
        "HOMERACK_IMAGE": "homerack:current",
        "HOMERACK_FRONT_IMAGE": "homerack-front:current",
        "BACKUP_DISK": "/mnt/usb",
        "BACKUP_SSH_KEY": "/root/homerack-ssh-key",
    }


@pytest.mark.parametrize("name", SECRETS)
def test_secret_has_no_default(name: str) -> None:
    assert assignments()[name] == "CHANGE_ME"
    assert f"${{{name}:?" in COMPOSE
    assert f"${{{name}:-" not in COMPOSE
    assert f"${{{name}}}" not in COMPOSE


def test_environment_files_are_ignored_by_git_and_docker() -> None:
    assert output_of("git", "check-ignore", ".env", ".env.production").split() == [".env", ".env.production"]
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert next(rule for rule in rules if rule and not rule.startswith("#")) == "*"
    assert "**/.env*" in rules


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="apt-get install shellcheck")
def test_scripts_pass_shellcheck() -> None:
    found = [path for folder in ("ops/deploy", "tests/deploy") for path in (ROOT / folder).glob("*.sh")]
    assert found
    scripts = ["front/start", *sorted(str(path.relative_to(ROOT)) for path in found)]
    assert output_of("shellcheck", "--external-sources", *scripts) == ""


class TestRefusals:
    """Nothing is changed, and all problems are listed at once."""

    def test_deployment_without_environment_file_is_refused(self, machine: Machine) -> None:
        machine.environment_file.unlink(missing_ok=True)
        ended = machine.run(SCRIPT)
        assert ended.code == 1
        assert "There is no .env.production. Begin with: install -m 600 .env.production.example" in ended.text
        assert "Nothing was changed." in ended.text

    def test_deployment_with_placeholders_is_refused(self, machine: Machine) -> None:
        machine.configure(EXAMPLE)
        ended = machine.run(SCRIPT)
        assert ended.code == 1
        for name in (*SECRETS, "ALLOWED_HOSTS"):
            assert f"✗ {name} in .env.production is still a placeholder." in ended.text
        assert "Nothing was changed." in ended.text

    def test_deployment_with_wrong_values_is_refused(self, machine: Machine) -> None:
        wrong = {
            "SECRET_KEY": ("short", " in .env.production is shorter than 50 characters."),
            "REDIS_PASSWORD": ("", " is not set in .env.production."),
            "POSTGRES_PASSWORD": ("with/slash-and-more", " in .env.production is not 16 or more"),
            "TIME_ZONE": ('"UTC"', " in .env.production: write the value without quotes"),
            "POSTGRES_SUPERUSER_PASSWORD": ("short", " in .env.production is not 16 or more"),
            "FRONT": ("nginx", " in .env.production is neither caddy nor own."),
            "TLS": ("off", " in .env.production is neither internal nor an e-mail address for Let's Encrypt."),
            "ALLOWED_HOSTS": ("a.lan,*", " in .env.production is *: name the hosts"),
            "LOG_LEVEL": ("INFO # much", " in .env.production: write the value without quotes"),
        }
        machine.configure(**{name: value for name, (value, _) in wrong.items()})
        ended = machine.run(SCRIPT)
        assert ended.code == 1
        problems = [f"✗ {name}{problem}" for name, (_, problem) in wrong.items()]
        assert [problem for problem in problems if problem not in ended.text] == []
        assert "Nothing was changed." in ended.text

    def test_lists_of_names_and_keys_may_have_blanks(self, machine: Machine) -> None:
        machine.configure(
            BACKUP_LOCATIONS="disk nas",
            BACKUP_LOCATION_NAS_HOST_KEY="nas.lan ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
            BACKUP_AGE_RECIPIENTS="age1one age1two",
            BACKUP_LOCATION_DISK_HOST_KEY='"quoted ssh-ed25519"',
        )
        problems = re.findall(r"✗ (.*): write the value", machine.run(SCRIPT).text)
        assert problems == ["BACKUP_LOCATION_DISK_HOST_KEY in .env.production"]

    def test_deployment_with_readable_environment_file_is_refused(self, machine: Machine) -> None:
        machine.configure()
        machine.environment_file.chmod(0o640)
        problems = re.findall(r"✗ (.*\.env\.production.*)", machine.run(SCRIPT).text)
        assert problems == ["Other users can read .env.production: chmod 600 .env.production"]

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            (["--fast"], "unknown option --fast"),
            (["--sqlite-path"], "--sqlite-path needs a file"),
            (["--back-to-sqlite", ""], "--back-to-sqlite needs a file"),
            (["--skip-migration", "--migrate-only"], "--skip-migration and --migrate-only leave nothing to do"),
            (["--skip-migration", "--sqlite-path", "x"], "--skip-migration and --sqlite-path contradict each other"),
            (
                ["--back-to-sqlite", "x", "--sqlite-path", "y"],
                "--back-to-sqlite and --sqlite-path contradict each other",
            ),
            (["--back-to-sqlite", "x", "--migrate-only"], "--back-to-sqlite and --migrate-only contradict each other"),
            (
                ["--back-to-sqlite", "x", "--skip-migration"],
                "--back-to-sqlite and --skip-migration contradict each other",
            ),
        ],
    )
    def test_invalid_option_prints_usage(self, machine: Machine, options: list[str], problem: str) -> None:
        ended = machine.run(SCRIPT, *options)
        assert ended.code == 2
        assert ended.text.startswith(f"{problem}\n\nusage: deploy_production.sh")

    def test_help_exits_with_0(self, machine: Machine) -> None:
        assert machine.run(SCRIPT, "--help").code == 0
