"""One checked call: arguments before anything is decided."""
