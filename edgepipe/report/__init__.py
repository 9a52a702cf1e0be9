"""What a user sees of a run: listeners that follow it, and renderers of what it came to."""
