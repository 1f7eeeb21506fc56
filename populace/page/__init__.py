"""The live page of a run, or of a folder of runs: `populace watch`.

It reads what runs leave on the disk and, unless it is to control them (`control`), writes nothing there, so that a
refresh, a crash or a restart of the page touches no run. `shelf` says which runs there are, `rows` and `panels` read
tables, a file a view makes plain data of them, `views` names them; `guard` says which requests are refused, `server` is
the only importer of aiohttp here.
`static/` holds the page itself: plain modules, no build step, nothing from elsewhere but uPlot (MIT), in the wheel.
"""
