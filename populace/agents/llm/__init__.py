"""The model stack, outermost first: Replay, Cache, Retry, Throttle, HTTP."""
