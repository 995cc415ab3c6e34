"""Client libraries that must not be able to tell the responder from the real servers."""
