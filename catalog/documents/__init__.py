"""
The catalog document: checking it, reading it, comparing two of them.

Plain Python without Django or I/O, so that the same checks can run before a document is sent anywhere.
Source: contract chapter Catalog document.
"""
