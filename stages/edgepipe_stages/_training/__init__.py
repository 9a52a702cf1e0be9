"""The one training loop of train, distill and prune: settings, loop, checkpoints."""
