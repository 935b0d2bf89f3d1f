"""The process that runs one job, and the nodes that it starts."""
