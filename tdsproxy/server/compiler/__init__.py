"""From a T-SQL query to SQLite SQL with static types: names bound, conversions explicit."""
