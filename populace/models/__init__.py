"""Asks on their way to a model and answers on their way back, behind one seam: `protocol.Gateway`.

A run's stack of gateways, outermost first: the journal (`populace.store.journal.recording`), and from `build` the
`cache`, then a model: `client` (OpenAI-compatible endpoints, by way of `dispatch`; the embedded one too) or
`scripted`. Requests are made and answers read by pure modules (`chat`, `completions`, `refusals`, `reading`); only
`http` imports aiohttp. Other rooms use `protocol`, `build`, `keys`, `probing` and `safety`.
"""
