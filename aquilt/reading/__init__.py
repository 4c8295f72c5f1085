"""From files and datasets to clean passages."""
