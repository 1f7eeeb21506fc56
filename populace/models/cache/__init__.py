"""Answers kept on disk for other runs, and the gateway that gives them before a call is made.

`keys` says which asks share an answer (pure), `answers` keeps them in a file that several processes use at once, and
`layer` is the gateway. `populace.models.build` puts it into the stack.
"""
