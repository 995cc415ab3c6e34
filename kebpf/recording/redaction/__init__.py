"""Replaces secrets before anything is written: what is one, by what, and everywhere it occurs."""
