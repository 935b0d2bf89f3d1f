"""Jobs in the image that they name: the engine that runs it, and what becomes of their containers."""
