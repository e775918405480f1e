"""What a store remembers: databases, logins, server settings, msdb's history of backups and restores."""
