"""Deterministic answers of the right types, without a model."""
