from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts.services.bank_account_checks import register_bank_account_approvals
        from accounts.services.credit_approvals import register_credit_approvals
        from accounts.services.money_approvals import register_money_approvals
        from accounts.services.settlements import register_settlement_approvals

        register_credit_approvals()
        register_money_approvals()
        register_settlement_approvals()
        register_bank_account_approvals()
