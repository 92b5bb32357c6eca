"""A web page that classifies pictures in the browser: one HTML file, no server, no network."""
