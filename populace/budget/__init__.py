"""Limits and money: amounts, leases, the quota of an account, the ledger of an experiment.

Reserve the worst case before a call, settle it after: so a ceiling holds whatever a call turns out to cost
(`amounts`). One account's limits are leased to the shards (`quota`, `lease`); the runs of an experiment share its
ceiling (`ledger`). The arithmetic is pure and takes the time as an argument; `service` puts it behind a clock and
`ledger` into a file.
"""
