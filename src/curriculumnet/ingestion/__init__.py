"""Ingest: from a source of crawled files to one row per file."""
