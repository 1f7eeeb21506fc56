"""What tests share: societies, servers that misbehave, faults, and the virtual-time simulator."""
