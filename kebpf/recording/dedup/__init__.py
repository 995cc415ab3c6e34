"""Keeps what is unique of much traffic: which requests are of one shape, and which of them stay."""
