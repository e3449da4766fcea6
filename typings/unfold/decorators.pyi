from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

Column = TypeVar("Column", bound=Callable[..., Any])

def display(
    *,
    description: str | None = None,
    ordering: Any = None,
    label: bool | str | Mapping[Any, str] | None = None,
    header: bool | None = None,
) -> Callable[[Column], Column]: ...

Action = TypeVar("Action", bound=Callable[..., Any])

def action(
    *,
    description: str | None = None,
    icon: str | None = None,
    permissions: Iterable[str] | None = None,
    url_path: str | None = None,
) -> Callable[[Action], Action]: ...
