"""The sweep file: one strict model of all that it may hold, and reading it with line numbers."""
