"""One's own domain: records from anywhere, looked at, exported, inspected, trained on and published."""
