"""
Bringing a catalog to the payment provider: its products, prices and meters, found by lookup key or made.

`document` reads a catalog and finds everything that is missing before anything is sent; `plan` compares it with what
the provider has; `writing` carries the plan out so that it may be interrupted and repeated at any point. Plain HTTP
through `connection`. Source: contract chapter Provider synchronisation; docs/provider-sync.md.
"""
