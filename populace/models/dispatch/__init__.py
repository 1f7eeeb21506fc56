"""Which ask is called when and where: queue, rates, concurrency, breakers, retries. Pure but for `throttle`."""
