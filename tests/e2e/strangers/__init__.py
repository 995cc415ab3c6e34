"""Services that kebpf was not written with: each in the habits of another developer."""
