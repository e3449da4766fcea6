"""``manage.py createinitialsuperuser``: the first account of a new installation."""

import secrets
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from homerack.accounts.models import User
from ops.utils.printable import printable

DEFAULT_EMAIL = "admin@homerack.local"


class Command(BaseCommand):
    help = "Create a superuser with a random password, unless there is an active superuser."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", default=DEFAULT_EMAIL, help="e-mail address (default: %(default)s)")

    def handle(self, *_args: Any, email: str, **_options: Any) -> None:
        existing = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
        if existing is not None:
            self.stdout.write(printable(f"There is a superuser already: {existing.email}."))
            return
        password = create_superuser(email)
        self.stdout.write(printable(f"Created the superuser {email}."))
        self.stdout.write(f"Password: {password}")
        self.stdout.write("Write the password down: it is not shown again.")


def create_superuser(email: str) -> str:
    """Create a superuser and return its password. Raises CommandError, and creates none, if `email` cannot be used."""
    try:
        validate_email(email)
    except ValidationError as error:
        raise CommandError(f"{email!r} is not an e-mail address. No user was created.") from error
    password = secrets.token_urlsafe(15)
    with transaction.atomic():
        if User.objects.filter(email__iexact=email).exists():
            message = (
                f"{email} exists, but is not an active superuser. No user was created. "
                "Choose another address with --email."
            )
            raise CommandError(printable(message))
        User.objects.create_superuser(email, password)
    return password
