"""What recording costs and how fast replay is, measured on this machine."""
