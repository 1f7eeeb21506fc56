"""Levers: interventions as data, the groups that they touch, and what holds in a tick. Pure."""
