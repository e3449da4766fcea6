"""django-oauth-toolkit: applications, and tokens of every kind that are valid, expired, revoked, long or never end."""

import datetime as dt
import hashlib
import uuid
from types import SimpleNamespace
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, Grant, IDToken, RefreshToken

EXPIRES = {
    "never": dt.datetime(9999, 12, 30, tzinfo=dt.UTC),
    "long ago": dt.datetime(2, 1, 1, tzinfo=dt.UTC),
    "expired": dt.datetime(2026, 10, 25, 1, 30, 0, 1, tzinfo=dt.UTC),
    "valid": dt.datetime(2099, 1, 1, tzinfo=dt.UTC),
    "Größe" * 500: dt.datetime(2099, 1, 1, 0, 0, 0, 999999, tzinfo=dt.UTC),
    "'\\N\t%s": dt.datetime(2099, 1, 1, tzinfo=dt.UTC),
}
SCOPES = ["read write", "read", "", "ä:write", "read", "write"]


def fill() -> None:
    users = [User.objects.create_user(name, password="secret") for name in ("anna", "Anna", "ännä")]
    applications = [
        Application.objects.create(
            name=name,
            user=users[number % 2],
            client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
            client_secret=f"secret {number}",
            redirect_uris="https://example.org/ä https://example.org/?a=%s",
            allowed_origins="https://example.org",
        )
        for number, name in enumerate(["", "Größe", "\\N", "x" * 255])
    ]
    for number, (token, expires) in enumerate(EXPIRES.items()):
        application, user = applications[number % 4], users[number % 3]
        common = {"application": application, "user": user, "expires": expires, "scope": SCOPES[number]}
        access = AccessToken.objects.create(
            token=token, id_token=IDToken.objects.create(jti=uuid.UUID(int=number), **common), **common
        )
        RefreshToken.objects.create(
            token=f"refresh {number}",
            access_token=access,
            application=application,
            user=user,
            token_family=uuid.UUID(int=number),
            revoked=timezone.now() if number % 2 else None,
        )
        Grant.objects.create(
            code=f"code {number}",
            redirect_uri="https://example.org/ä",
            code_challenge="c" * 128,
            nonce="ä",
            claims='{"ä": null}',
            **common,
        )
    AccessToken.objects.create(token="of nobody", user=None, application=None, expires=EXPIRES["valid"], scope="")
    RefreshToken.objects.get(token="refresh 4").revoke()
    applications[3].delete()


def check() -> dict[str, Any]:
    from oauth2_provider.oauth2_validators import OAuth2Validator  # noqa: PLC0415  # needs the models

    validator = OAuth2Validator()
    application = Application.objects.get(name="")
    return {
        "bearer": {
            f"{token} {scope}": validator.validate_bearer_token(token, scope, SimpleNamespace())
            for token in EXPIRES
            for scope in (["read"], ["read", "write"], ["ä:write"], [])
        },
        "client": [
            validator.authenticate_client_id(application.client_id, SimpleNamespace(client=None)),
            validator._check_secret("secret 0", application.client_secret),
            validator._check_secret("secret 1", application.client_secret),
        ],
        "redirect": [application.redirect_uri_allowed(uri) for uri in ("https://example.org/ä", "https://x.org")],
        "refresh": {
            token.token: validator.validate_refresh_token(token.token, token.application, SimpleNamespace())
            for token in RefreshToken.objects.all()
        },
        "checksums": all(
            token.token_checksum == hashlib.sha256(token.token.encode()).hexdigest()
            for token in AccessToken.objects.all()
        ),
        "expired": AccessToken.objects.filter(expires__lt=timezone.now()).count(),
        "users": sorted(grant.user.username for grant in Grant.objects.all()),
    }


def change() -> None:
    AccessToken.objects.all().delete()
    Application.objects.filter(name="Größe").delete()
