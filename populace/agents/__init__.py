"""What an author declares: agents, their types of answers, populations, activation, the society itself.

Pure. `populace` re-exports what authors use; other rooms import the modules.
"""
