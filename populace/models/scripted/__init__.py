"""Deterministic answers of the right types, without a model: placebo, a society's own script, its rules.

`gateway` is a `Gateway` that answers from keyed draws, after a latency that the settings give; `generate` draws a
value from a JSON schema; `rules` answers by a society's rules; `encode` writes what a society's functions give as text.
"""
