"""One command that runs every page, and its report."""
