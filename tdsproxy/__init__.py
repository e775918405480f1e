"""SQL Server backup and restore for MSSQL-compatible servers whose databases are SQLite files."""
