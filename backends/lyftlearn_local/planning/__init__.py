"""What would be written and started for a job. Pure: nothing is sent from here."""
