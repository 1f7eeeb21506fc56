"""`python -m populace`: the command line, where its script is not on the path."""

from populace.cli import main

main()
