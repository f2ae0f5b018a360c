"""Embed: one vector of features per image."""
