"""What a crawl is: one file for each kind of source, and what all of them give."""
