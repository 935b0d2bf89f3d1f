"""The output of nodes: how it is kept, and how it is read. Writer and reader of one format."""
