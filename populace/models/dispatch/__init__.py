"""Which ask is called when and where: queue, rates, concurrency, breakers, retries.

`dispatcher` is the event loop's side of it and `throttle` the only importer of asyncio_throttle; all else is
arithmetic that takes the time as an argument. `populace.models.client` makes the calls that the dispatcher lets
through.
"""
