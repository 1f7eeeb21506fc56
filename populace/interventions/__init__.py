"""Levers: interventions as data, the groups that they touch, and what holds in a tick. Pure.

`levers` is what settings hold; `resolve` checks levers against a society and readies them; `at_work` says what holds
in a tick, a function of (levers, tick) alone; `groups` says who is in a group. The kernel asks `at_work`, the cluster
resolves.
"""
