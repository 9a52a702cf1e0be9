"""Removing weights."""
