"""Who runs where: the coordinator, jobs, hosts of shards, and the two transports, in one process and on Ray."""
