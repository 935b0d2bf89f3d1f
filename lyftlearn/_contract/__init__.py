"""What a job is made of, as plain values and their formats."""
