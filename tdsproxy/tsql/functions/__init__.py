"""The built-in scalar functions of T-SQL, shared by the evaluator, the interpreter and the compiler."""
