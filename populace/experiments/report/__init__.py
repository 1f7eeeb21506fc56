"""The report of an experiment: one document of plain data, shown as a page and as Markdown, with its figures."""
