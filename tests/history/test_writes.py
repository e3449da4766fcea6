"""No code writes rows of tracked models past the history."""

import ast
from collections.abc import Iterator
from pathlib import Path

import homerack

ROOT = Path(homerack.__file__).parent
UNRECORDED = {"_raw_delete", "_update", "_insert", "save_without_historical_record", "bulk_create_with_history"}
"""Methods of Django and of the package that write without `TrackedQuerySet` and `TrackedModel`."""
WRITES = ("INSERT INTO", "UPDATE ", "DELETE FROM", "TRUNCATE")
ALLOWED = {
    "history/tracking.py": "records",
    "history/revert.py": "records what it writes with the same functions",
    "inventory/legacy.py": "prepares the file of HomeRack 1.0.1, a copy that is no database of this project",
    "inventory/legacy_catalogue.py": "as above",
    "postgresql/": "the backend: writes no tables",
    "history/management/": "text for users",
}


def writes_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in UNRECORDED:
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {node.attr}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(WRITES):
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {node.value[:20]}"
        if isinstance(node, ast.Call) and "QuerySet" in ast.unparse(node.func).split(".")[-1:]:
            yield f"{path.relative_to(ROOT)}:{node.lineno}: a queryset without a history"


def test_all_rows_are_written_through_the_history() -> None:
    found = {path: list(writes_in(path)) for path in ROOT.rglob("*.py") if "migrations" not in path.parts}
    assert [write for writes in found.values() for write in writes if not write.startswith(tuple(ALLOWED))] == []
    assert any(writes for path, writes in found.items() if path.name == "tracking.py")
