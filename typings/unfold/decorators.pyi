from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Column = TypeVar("Column", bound=Callable[..., Any])

def display(
    *,
    description: str | None = None,
    ordering: Any = None,
    label: bool | str | Mapping[Any, str] | None = None,
    header: bool | None = None,
) -> Callable[[Column], Column]: ...
