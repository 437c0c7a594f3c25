"""Generated conversations whose rules are known, and with them the best possible accuracy."""
