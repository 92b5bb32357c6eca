"""What an export found out, as text for a terminal and as one HTML page."""
