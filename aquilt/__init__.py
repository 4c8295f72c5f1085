"""AQuilt: from unlabeled text to inspected instruction data and a trained specialist."""
__version__ = "0.1.0"

from aquilt._moved import keep_old_addresses

keep_old_addresses()
