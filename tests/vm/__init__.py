"""Whole machines under qemu: kebpf under a real systemd, and on the kernels of several releases."""
