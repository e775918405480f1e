"""The catalog views of SQL Server over what the store and the sessions know."""
