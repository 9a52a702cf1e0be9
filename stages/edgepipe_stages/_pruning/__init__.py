"""What the pruning stages do to a network, without training it."""
