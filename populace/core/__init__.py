"""What every room stands on: errors, keyed draws, records, table declarations, the trace. Pure.

`errors` is the whole tree of what populace raises on purpose. `draws` is the one source of randomness: a function of
(seed, agent, tick, purpose, count). `records` are asks, answers, messages and counts; `tables` declares each table of
a run once; `trace` chains the hashes of a run. Imports nothing of populace, and every room may import it.
"""
