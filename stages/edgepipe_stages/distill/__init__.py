"""Training from a teacher."""
