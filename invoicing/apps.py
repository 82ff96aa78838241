from django.apps import AppConfig


class InvoicingConfig(AppConfig):
    name = "invoicing"
    verbose_name = "Invoicing"

    def ready(self) -> None:
        from invoicing.queries.proof import register_checks
        from invoicing.services.bank_transfer_matching import register_bank_transfer_approvals
        from invoicing.services.bank_transfer_rows import register_bank_transfer_work
        from invoicing.services.card_expiry import register_card_mails
        from invoicing.services.credit_note_approvals import register_credit_note_approvals
        from invoicing.services.dispute_alarms import register_dispute_items
        from invoicing.services.dunning_mails import register_dunning_mails
        from invoicing.services.dunning_sweep import register_dunning_work
        from invoicing.services.grant_approvals import register_grant_approvals
        from invoicing.services.inbound_events import register_webhook_work_items
        from invoicing.services.invoice_mails import register_mail_composers
        from invoicing.services.manual_payment_approvals import register_manual_payment_approvals
        from invoicing.services.payout_rows import register_payout_work
        from invoicing.services.payouts import register_payout_approvals
        from invoicing.services.refund_approvals import register_refund_approvals
        from invoicing.services.refund_work_items import register_refund_items
        from invoicing.services.reviews import register_review_approvals

        register_checks()
        register_mail_composers()
        register_dunning_mails()
        register_card_mails()
        register_dunning_work()
        register_review_approvals()
        register_grant_approvals()
        register_credit_note_approvals()
        register_bank_transfer_approvals()
        register_bank_transfer_work()
        register_webhook_work_items()
        register_refund_approvals()
        register_refund_items()
        register_payout_approvals()
        register_payout_work()
        register_dispute_items()
        register_manual_payment_approvals()
