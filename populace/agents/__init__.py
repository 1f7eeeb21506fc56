"""What an author declares: agents, their types of answers, populations, activation, the society itself. Pure.

A `Society` (`society`) names the type of its agents, how they are drawn (`population`), who is due in a tick
(`activation`) and its world. `answers` compiles the type of an answer to a JSON schema and a reader. `context` is what
a turn may do. `populace` re-exports what authors use; other rooms import the modules.
"""
