"""The tables that a run leaves, as Parquet files; `populace.core.tables` declares them. Shell.

`tables` writes them while a run lasts and reads them back (`panel` among others); `ticks` reads them a tick at a time;
`files` and `columns` are how they come to the disk.
"""
