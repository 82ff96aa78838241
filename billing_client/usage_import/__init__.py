"""
Import of usage files: CSV or JSON lines to usage events, checked whole before anything is sent, sent so that it can
be repeated without counting twice.
"""
