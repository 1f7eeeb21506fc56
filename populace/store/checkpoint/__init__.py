"""How far a run came: generations of blocks, each whole or not there."""
