"""The dashboard: what the history, the backends and the migration's report know, as pages of a small web server.

Pages are read only, but for the button that stops a job where an operator allows it. Every value goes through the
templates of `_pages`, which escape it, and no page asks another host for anything.
"""
