"""Changed manifests and those of other installations are recognised."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.backups.signing import Key, Keys, Trust
from ops.errors import PreconditionFailed
from tests.backups import factories

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.text().filter(lambda name: name != "signature"), values, max_size=4)


@given(documents)
def test_signature_is_valid_after_writing_and_reading(document):
    read = json.loads(json.dumps(factories.KEYS.sign(document), indent=2))
    assert factories.KEYS.check(dict(reversed(read.items()))) is Trust.SIGNED


@given(documents, documents)
def test_signature_of_other_content_is_tampered(document, other):
    signed = factories.KEYS.sign(document)
    moved = {**other, "signature": signed["signature"]}
    assert (factories.KEYS.check(moved) is Trust.SIGNED) == (
        json.dumps(document, sort_keys=True) == json.dumps(other, sort_keys=True)
    )


@pytest.mark.parametrize("name", sorted(factories.manifest().as_json()))
def test_signature_of_a_manifest_with_any_changed_field_is_tampered(name):
    signed = factories.KEYS.sign(factories.manifest().as_json())
    assert factories.KEYS.check({**signed, name: "changed"}) is Trust.TAMPERED
    del signed[name]
    assert factories.KEYS.check(signed) is Trust.TAMPERED


def test_document_without_signature_is_unsigned():
    assert factories.KEYS.check({"a": 1}) is Trust.UNSIGNED


def test_signature_with_an_unknown_key_is_foreign():
    assert factories.KEYS.check(Keys(["another"]).sign({"a": 1})) is Trust.FOREIGN


def test_older_key_verifies_and_the_newest_signs():
    both = Keys(["new", "", "old"])
    old = Keys(["old"]).sign({"a": 1})
    assert both.check(old) is Trust.SIGNED
    assert both.sign(old) == Keys(["new"]).sign({"a": 1})


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "x",
        {},
        {"key": Key.derived("a secret of this installation").id},
        {"key": "x", "hmac": 5},
        {"key": "x", "hmac": "", "more": 1},
    ],
)
def test_signature_of_another_form_is_tampered(signature):
    assert factories.KEYS.check({"a": 1, "signature": signature}) is Trust.TAMPERED


def test_known_key_with_a_wrong_digest_is_tampered():
    signature = factories.KEYS.sign({"a": 1})["signature"]
    assert factories.KEYS.check({"a": 1, "signature": {**signature, "hmac": "\ud800é"}}) is Trust.TAMPERED


def test_repr_of_keys_has_no_secret():
    key = Key.derived("topsecret")
    assert key.secret not in repr(key).encode()
    assert len(key.id) == 8
    assert key.id not in key.secret.hex()


def test_keys_without_a_secret_are_refused():
    with pytest.raises(PreconditionFailed) as caught:
        Keys(["", ""])
    assert str(caught.value) == "There is no key to sign backups with.\nSet BACKUP_SIGNING_KEY."
