from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "homerack.accounts"
    verbose_name = "Accounts"
