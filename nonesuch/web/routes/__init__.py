"""The server's routes, one module for each thing a visitor comes for."""
