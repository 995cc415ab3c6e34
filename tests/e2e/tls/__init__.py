"""Programs that speak TLS, their peers, and what those saw."""
