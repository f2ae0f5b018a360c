"""What each format of an export writes, a file for each."""
