"""A small shop with its dependencies: what kebpf is shown and tested with."""
