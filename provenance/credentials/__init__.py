"""Reading C2PA credentials: the manifest store, its assertions, certificates and trust lists."""
