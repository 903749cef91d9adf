"""The server's routes, one module per page or API."""
