"""What TLS shows without a key: records and greetings (RFC 8446, RFC 5246)."""
