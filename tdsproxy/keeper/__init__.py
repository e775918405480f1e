"""The process that owns a store: its lock, its socket, and who may ask it for what."""
