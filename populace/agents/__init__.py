"""What an agent is: its state, its turn, what it may ask, and the model stack that answers."""
