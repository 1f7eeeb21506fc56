"""The state machines of a run: shards, turns, the barrier, the bus, the environment service. Pure.

An event in, effects out: nothing here waits, reads a clock or does I/O, and `cluster` carries the effects out. `shard`
drives the turns of its agents, `barrier` opens and closes ticks, `environment` owns the world, `bus` orders messages.
`events` are what passes between them; `snapshot` is a run between two ticks, `blocks` how it becomes bytes. `saving`
and `trial` see that what agents and parts keep is what a checkpoint gives back.
"""
