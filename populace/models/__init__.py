"""Asks on their way to a model and answers on their way back, behind one seam: `protocol.Gateway`."""
