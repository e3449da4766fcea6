"""The manifest for CloudNativePG agrees with the operator's schema, and the URL in the document with the manifest."""

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ops.databases.postgres.url import parse

ROOT = Path(__file__).resolve().parents[2]
SCHEMA: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "cloudnativepg/clusters.yaml").read_text())
MANIFEST: dict[str, Any] = yaml.safe_load((ROOT / "docs/examples/cloudnativepg.yaml").read_text())
DOCUMENT = (ROOT / "docs/high-availability.md").read_text()
ENVIRONMENT: list[dict[str, Any]] = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)[0])["env"]


def strict(schema: Any) -> Any:
    """As `kubectl apply` with its default `--validate=strict`: a field that the schema does not have is an error."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(value) for name, value in schema.items()}
    if closed.get("type") == "object" and "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def errors_of(manifest: dict[str, Any]) -> list[str]:
    schema = strict(SCHEMA)
    schema["properties"]["metadata"] = {"type": "object"}  # Kubernetes' own
    return [error.message for error in jsonschema.Draft4Validator(schema).iter_errors(manifest)]


def test_manifest_agrees_with_the_schema() -> None:
    jsonschema.Draft4Validator.check_schema(strict(SCHEMA))
    assert errors_of(MANIFEST) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("instances",), "3", "'3' is not of type 'integer'"),
        (("instances",), 0, "0 is less than the minimum of 1"),
        (("postgresql", "synchronous", "method"), "quorum", "'quorum' is not one of ['any', 'first']"),
        (("postgresql", "parameters", "max_connections"), 200, "200 is not of type 'string'"),
        (("managed", "roles"), [{"createdb": True}], "'name' is a required property"),
        (("bootstrap", "initdb", "ownr"), "homerack", "'ownr' was unexpected"),
    ],
)
def test_manifest_with_a_mistake_does_not_agree(path: tuple[str, ...], value: Any, message: str) -> None:
    manifest = copy.deepcopy(MANIFEST)
    *folders, name = path
    part = manifest["spec"]
    for folder in folders:
        part = part[folder]
    part[name] = value
    assert [error for error in errors_of(manifest) if message in error]


def test_role_may_create_databases_and_owns_the_database() -> None:
    spec = MANIFEST["spec"]
    (role,) = spec["managed"]["roles"]
    assert role["name"] == spec["bootstrap"]["initdb"]["owner"]
    assert role["login"]  # false without it
    assert role["createdb"]
    assert not role.get("superuser")
    assert not spec["enableSuperuserAccess"]


def test_url_in_the_document_leads_to_the_cluster() -> None:
    """With the names that the operator derives: the Service with -rw, and the Secret with -app."""
    name = MANIFEST["metadata"]["name"]
    variables = {each["name"]: each for each in ENVIRONMENT}
    for variable, key in (("DB_USER", "username"), ("DB_PASSWORD", "password")):
        assert variables[variable]["valueFrom"]["secretKeyRef"] == {"name": f"{name}-app", "key": key}
    url = variables["DATABASE_URL"]["value"].replace("$(DB_USER)", "owner").replace("$(DB_PASSWORD)", "secret")
    found = parse(url)
    assert (found["HOST"], found["USER"], found["PASSWORD"]) == (f"{name}-rw", "owner", "secret")
    assert found["NAME"] == MANIFEST["spec"]["bootstrap"]["initdb"]["database"]
    assert found["OPTIONS"]["target_session_attrs"] == "read-write"
