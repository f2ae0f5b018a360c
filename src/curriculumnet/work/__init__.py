"""What a work folder holds: its tables as data, its files, its records, its lock."""
