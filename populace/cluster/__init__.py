"""Who runs where: the coordinator, jobs, hosts of shards, and two transports, in one process and on Ray.

A `Job` is all that a process must know to build its pieces. The `Coordinator` takes a run from its first tick, or its
newest checkpoint, to its manifest: `loop` carries out the barrier's effects over a `Transport`, `saver` saves and
`closing` ends. `host` runs one shard on an event loop, the same under both transports. `runs` uses `coordinator`,
`job` and the transports. Shell; only `ray` and `ray_actors` import Ray.
"""
