"""collect: from a list of URLs to shards of pictures."""
