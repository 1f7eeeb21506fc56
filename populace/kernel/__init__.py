"""The heart, pure: shards, turns, the barrier, the bus, the environment service and a run between two ticks.

State machines and plain data: an event in, effects out. `cluster` carries the effects out.
"""
