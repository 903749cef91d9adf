"""The local server: the verification page, its API, and the C2PA soft-binding resolution API.

`app.create_app` makes the application; the web framework is imported there and in `routes` only.
"""
