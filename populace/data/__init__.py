"""Shell: loads society files and reads the files and tables that they name. `env` and `agents` take columns."""
