"""The heart's vocabulary: errors, keyed draws, effects, records. Pure: no clock, no I/O, no event loop."""
