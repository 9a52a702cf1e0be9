"""Training from labels."""
