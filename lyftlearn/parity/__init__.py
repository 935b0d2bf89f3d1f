"""Environmental parity, measured: what a program can observe on two backends, compared."""
