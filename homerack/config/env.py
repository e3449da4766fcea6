"""Reads the environment strictly: an invalid value stops the start with an error that names the variable.

Values come from the process environment or, where a variable is not set there, from the ``.env`` file next to
manage.py. A secret ``NAME`` may also come from the file that ``NAME_FILE`` names (Docker and Kubernetes secrets).
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from ops.utils.redis_url import InvalidRedisUrl, check_redis_url

TRUE_WORDS = frozenset({"1", "on", "true", "yes"})
FALSE_WORDS = frozenset({"0", "off", "false", "no"})


class Dotenv(environ.Env):  # type: ignore[misc]  # django-environ has no types
    """The ``.env`` file, apart from the environment."""

    ENVIRON: dict[str, str] = {}  # noqa: RUF012  # as django-environ has it


def load_dotenv(path: Path) -> None:
    """Add the variables of the ``.env`` file at `path` to the environment. Variables that are set take precedence."""
    if path.is_file():
        Dotenv.read_env(path)
        for name, value in Dotenv.ENVIRON.items():
            os.environ.setdefault(name, value)


def source_of(name: str) -> str:
    """Where the variable is set: ``environment``, or the name of a file; '' where it is not.

    Processes that `serve` starts inherit the variables of the ``.env`` file.
    """
    if path := get_text(f"{name}_FILE"):
        return f"file {path}"
    if not (value := get_text(name)):
        return ""
    return "file .env" if Dotenv.ENVIRON.get(name, "").strip() == value else "environment"


def sources(names: Iterable[str], variables: Mapping[str, str]) -> dict[str, str]:
    """The source of each setting whose variable is set; `variables` are those that have another name."""
    return {name: source for name in names if (source := source_of(variables.get(name, name)))}


def refuse(name: str, fault: str, example: str) -> ImproperlyConfigured:
    """The error for an invalid variable: its name, what is wrong, and an example."""
    return ImproperlyConfigured(f"{name} {fault}. Example: {name}={example}")


def get_text(name: str, default: str = "") -> str:
    """The variable's text without surrounding white space; unset and empty both mean `default`."""
    return os.environ.get(name, "").strip() or default


def get_secret(name: str, default: str = "") -> str:
    """A text that may also be in the file named by ``NAME_FILE``. Setting both is refused."""
    file_name = get_text(f"{name}_FILE")
    if not file_name:
        return get_text(name, default)
    if get_text(name):
        raise refuse(f"{name}_FILE", f"and {name} are both set; remove one of them", f"/run/secrets/{name.lower()}")
    try:
        secret = Path(file_name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        fault = f"names {file_name}, which cannot be read ({type(error).__name__})"
        raise refuse(f"{name}_FILE", fault, f"/run/secrets/{name.lower()}") from error
    if not secret:
        raise refuse(f"{name}_FILE", f"names {file_name}, which is empty", f"/run/secrets/{name.lower()}")
    return secret


def get_secrets(name: str) -> list[str]:
    """Secrets, separated by white space. They may also be in a file (see `get_secret`)."""
    return get_secret(name).split()


def get_keys(name: str) -> list[str]:
    """Keys of age, separated by white space or commas. ``age-keygen`` writes comments into the file of a key."""
    lines = (line for line in get_secret(name).splitlines() if not line.lstrip().startswith("#"))
    return [key for line in lines for key in line.replace(",", " ").split()]


def get_bool(name: str, *, default: bool) -> bool:
    """True or False from the usual words. Other values are refused."""
    word = get_text(name).lower()
    if not word:
        return default
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise refuse(name, f"is {word!r}, which is neither true nor false", "true")


def get_int(name: str, *, default: int, minimum: int = 0) -> int:
    """A whole number of at least `minimum`."""
    text = get_text(name)
    if not text:
        return default
    try:
        number = int(text)
    except ValueError as error:
        raise refuse(name, f"is {text!r}, which is not a whole number", str(default)) from error
    if number < minimum:
        raise refuse(name, f"is {number}; the minimum is {minimum}", str(default))
    return number


def get_seconds(name: str, *, default: float) -> float:
    """A non-negative number of seconds."""
    text = get_text(name)
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError as error:
        raise refuse(name, f"is {text!r}, which is not a number of seconds", f"{default:g}") from error
    if not 0 <= seconds < float("inf"):
        raise refuse(name, f"is {text}; it is a number of seconds, 0 or more", f"{default:g}")
    return seconds


def get_choice(name: str, *, default: str, choices: tuple[str, ...]) -> str:
    """One of `choices`. Case is ignored in the variable; the result is as in `choices`."""
    text = get_text(name, default)
    for choice in choices:
        if choice.lower() == text.lower():
            return choice
    raise refuse(name, f"is {text!r}; known values are {', '.join(choices)}", choices[0])


def get_list(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """The comma-separated parts, without empty ones."""
    return [part.strip() for part in get_text(name).split(",") if part.strip()] or list(default)


def get_urls(name: str) -> list[str]:
    """Addresses, separated by spaces or commas. A comma that is not followed by another address is part of one.

    They contain passwords, so they may also be in a file (`get_secret`), and an invalid one is not shown.
    """
    urls = [part for part in re.split(r"[\s,]+(?=[\w+.-]+://)", get_secret(name)) if part]
    for number, url in enumerate(urls, start=1):
        if not re.match(r"[a-z][\w+.-]*://\S+\Z", url, re.IGNORECASE):
            raise refuse(
                name,
                f"has an invalid address, number {number}: it must begin with the name of a service",
                "ntfy://ntfy.sh/lab",
            )
    return urls


def get_redis_url(name: str) -> str:
    """The address of a Redis, or of its Sentinels; it may also be in a file (`get_secret`), and is not shown."""
    url = get_secret(name)
    try:
        if url:
            check_redis_url(url)
    except InvalidRedisUrl as error:
        raise refuse(name, error.fault, error.example) from error
    return url


def get_url_path(name: str, *, default: str, reserved: tuple[str, ...]) -> str:
    """A path below the site's root as Django's `path` takes it, such as ``admin/``; not below those in `reserved`."""
    path = get_text(name, default).strip("/") + "/"
    if not re.fullmatch(r"([A-Za-z0-9_-]+/)+", path):
        raise refuse(name, f"is {path!r}; allowed are letters, digits, - and _", default)
    if path.startswith(reserved):
        raise refuse(name, f"is {path!r}, which is reserved for other pages", default)
    return path
