"""Signatures of manifests: HMAC-SHA256 with a key that is neither in the database nor next to the backups."""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ops.errors import PreconditionFailed

PURPOSE = b"ops.backups: signature of a manifest"
SIGNATURE = "signature"
"""The field of a document that holds ``{"key": …, "hmac": …}``; it covers all others."""


class Trust(StrEnum):
    """The result of checking a signature; users read the value."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    FOREIGN = "foreign key"
    """Signed with an unknown key: by another installation, or before the key was changed."""
    TAMPERED = "tampered"


@dataclass(frozen=True)
class Key:
    """A secret derived for this one purpose. `id` identifies a key without revealing it."""

    secret: bytes = field(repr=False)

    @classmethod
    def derived(cls, secret: str) -> "Key":
        return cls(hmac.digest(secret.encode(), PURPOSE, "sha256"))

    @property
    def id(self) -> str:
        return hashlib.sha256(self.secret).hexdigest()[:8]

    def hmac(self, document: Mapping[str, Any]) -> str:
        return hmac.digest(self.secret, canonical(document), "sha256").hex()


class Keys:
    """The first of `secrets` signs; all of them verify. Empty ones are ignored."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self.known = [Key.derived(secret) for secret in secrets if secret]
        if not self.known:
            raise PreconditionFailed("There is no key to sign backups with.", "Set BACKUP_SIGNING_KEY.")

    def sign(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """`document` with a signature of the first key, which replaces an existing one."""
        content = unsigned(document)
        key = self.known[0]
        return {**content, SIGNATURE: {"key": key.id, "hmac": key.hmac(content)}}

    def check(self, document: Mapping[str, Any]) -> Trust:
        if SIGNATURE not in document:
            return Trust.UNSIGNED
        match document[SIGNATURE]:
            case {"key": str(id_), "hmac": str(digest), **others} if not others:
                keys = [key for key in self.known if key.id == id_]
            case _:
                return Trust.TAMPERED
        if not keys:
            return Trust.FOREIGN
        content = unsigned(document)
        matches = any(hmac.compare_digest(key.hmac(content).encode(), digest.encode(errors="replace")) for key in keys)
        return Trust.SIGNED if matches else Trust.TAMPERED


def unsigned(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != SIGNATURE}


def canonical(document: Mapping[str, Any]) -> bytes:
    """The same bytes for equal documents, whatever wrote the file: sorted keys, no white space, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
