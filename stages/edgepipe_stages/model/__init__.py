"""Stages that bring the user's own models in."""
