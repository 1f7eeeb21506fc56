"""Limits and money: amounts, leases, the quota of an account, the ledger of an experiment.

The arithmetic is pure, time is an argument; `service` puts it behind a clock and `ledger` into a file.
"""
