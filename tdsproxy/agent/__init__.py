"""Jobs, schedules and policies: backups that nobody starts by hand."""
