"""Report: the page on which people see what was found."""
