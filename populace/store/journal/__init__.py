"""What the model said: an append-only record, chained by checksums, read back by an ask's identity."""
