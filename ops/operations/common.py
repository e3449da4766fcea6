"""What all operations give back."""

from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Generic, TypeVar

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
    """A result, which is a dataclass, as the run keeps it."""
    if not is_dataclass(result) or isinstance(result, type):
        raise TypeError(f"{result!r} is no result of an operation.")
    return asdict(result)
