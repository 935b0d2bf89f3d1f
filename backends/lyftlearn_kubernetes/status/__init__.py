"""What becomes of jobs: objects as they were observed, the events that follow, and who watches them."""
