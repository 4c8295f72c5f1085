"""What everything stands on: the record, the profiles, the runs, the prompts."""
