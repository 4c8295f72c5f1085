"""One's own domain: from a folder of files to records, looked at, exported, inspected, trained on and published; the weights of others."""
