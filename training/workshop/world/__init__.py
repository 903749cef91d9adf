"""The drawn world that the embedded models learn: subjects, styles, captions."""
