"""Deterministic answers of the right types, without a model: for tests and studies of scale.

`gateway` is a `Gateway` that answers from keyed draws, after a latency that the settings give; `generate` draws a
value from a JSON schema.
"""
