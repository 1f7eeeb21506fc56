"""People for a society: weights from margins, distributions fitted to a table, households, firms, personas. Pure."""
