"""The half of lyftlearn that runs inside the container, between a substrate and the user's command.

Standard library only, Python 3.8 and newer, and nothing else of lyftlearn: it travels as one zip file with the job.
"""

CONTRACT = 1
