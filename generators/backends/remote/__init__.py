"""Drawing with other programs (ComfyUI, A1111) and hosted services (OpenAI, Stability, Google) over HTTP.

`kinds` describes their models, `drawing` turns any of them into a backend, `http` sends requests and retries;
one module per protocol, whose docstring names the documentation that it follows.
"""
