"""The sweep file: one strict model of all that it may say, and reading it with its lines."""
