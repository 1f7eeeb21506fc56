"""`python -m populace.cli`."""

from populace.cli.app import main

main()
