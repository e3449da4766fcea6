from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "homerack.accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from homerack.accounts import membership  # noqa: PLC0415  # needs the models

        membership.connect()
