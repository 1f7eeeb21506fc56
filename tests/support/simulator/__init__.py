"""A run's protocol under a simulated, faulty network: virtual time, one seed, no event loop, no threads.

`universe` is time, network and crashes; `society` a small society that does a bit of everything; `hosts` and `driver`
the participants, which drive the real state machines (`Shard`, `Environment`, `Barrier`, the bus, the export and
restore of a run) and say `messages`; `runs` judges a run.
"""
