"""A service with one mistake a route to be switched on, and what kebpf must say of each."""
