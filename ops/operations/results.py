"""What all operations give back."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ops.backups.manifest import plain_values

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Done(Generic[Result]):
    """An operation that went well. `found`: what earlier runs that were killed had left, in sentences."""

    run: str
    found: tuple[str, ...]
    result: Result

    def as_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {"run": self.run, "found": list(self.found), **as_json(self.result)}


def as_json(result: object) -> dict[str, Any]:
    """A result, which is a dataclass, with values that JSON has."""
    document = plain_values(result)
    if not isinstance(document, dict):
        raise TypeError(f"{result!r} is no result of an operation.")
    return document
