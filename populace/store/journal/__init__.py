"""What the model said: an append-only record, chained by checksums, read back by an ask's identity. Shell.

`write` puts an answer on disk before its turn sees it; `read` streams it back and stops at damage, which `salvage` may
leave out; `index` finds an answer; `writers` waits for those who write. `recording` is the outermost gateway of the
model stack: what is on record is not asked again.
"""
