"""Hostile bytes for everything that parses: targets, a corpus, and two ways to run them."""
