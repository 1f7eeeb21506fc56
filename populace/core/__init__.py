"""Errors, keyed draws, records, the trace. Pure; imports nothing of populace."""
