"""Who runs where: shards, the barrier, the bus, and the transports that carry them."""
