"""Conversions by family of the target type; ``tsql.conversions`` is the door."""
