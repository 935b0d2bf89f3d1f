"""What happened in a migration: recorded beside submissions, reconciled and analysed later."""
