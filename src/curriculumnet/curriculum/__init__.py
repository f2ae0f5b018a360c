"""Design: each category ordered from clean to doubtful."""
