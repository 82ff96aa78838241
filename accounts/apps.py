from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts.services.credit_approvals import register_credit_approvals
        from accounts.services.money_approvals import register_money_approvals

        register_credit_approvals()
        register_money_approvals()
