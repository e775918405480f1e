"""CREATE TABLE and its parts, ALTER TABLE, indexes."""

from __future__ import annotations

from tdsproxy.tsql import ast, types
from tdsproxy.tsql.lexer import Kind
from tdsproxy.tsql.parser.dml import Dml

_INDEX_KINDS = ("CLUSTERED", "NONCLUSTERED")


class Tables(Dml):
    """Reads the definitions of tables and indexes."""

    # ------------------------------------------------------------------ CREATE TABLE

    def create_table(self) -> ast.Statement:
        """Behind ``CREATE TABLE``."""
        name = self.object_name(3)
        if self.accept_words("AS", "FILETABLE"):
            return self.unsupported("CREATE TABLE AS FILETABLE")
        self.expect("(")
        columns, constraints, indexes = self.table_elements()
        self.expect(")")
        if self.at_words("AS", "NODE") or self.at_words("AS", "EDGE"):
            self.advance()
            return self.unsupported(f"CREATE TABLE AS {self.tok.word}")
        self._table_options()
        return ast.CreateTable(name, columns, constraints, indexes)

    def _table_options(self) -> None:
        """ON filegroup, TEXTIMAGE_ON, FILESTREAM_ON, WITH (...): accepted."""
        while True:
            if self.accept("ON", "TEXTIMAGE_ON", "FILESTREAM_ON"):
                self._place()
            elif self.at_words("WITH", "("):
                self.advance()
                self.skip_parentheses()
            else:
                return

    def _place(self) -> None:
        """A filegroup or a partition scheme with its column."""
        if not self.accept("DEFAULT", "PRIMARY"):
            if self.tok.kind is Kind.STRING:
                self.advance()
            else:
                self.name()
        if self.at("("):
            self.skip_parentheses()

    def table_elements(
        self,
    ) -> tuple[tuple[ast.ColumnDefinition, ...], tuple[ast.Constraint, ...], tuple[ast.IndexDefinition, ...]]:
        """Columns, table constraints and inline indexes, separated by commas; a last comma may dangle."""
        columns: list[ast.ColumnDefinition] = []
        constraints: list[ast.Constraint] = []
        indexes: list[ast.IndexDefinition] = []
        while True:
            if self.at("CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK"):
                constraints.append(self.table_constraint())
            elif self.at("INDEX"):
                indexes.append(self._inline_index(None))
            elif self.at_words("PERIOD", "FOR"):
                self.accept_words("PERIOD", "FOR")
                self.name()
                self.name_list()
            else:
                column, index = self._column_with_index()
                columns.append(column)
                if index is not None:
                    indexes.append(index)
            if self.at("CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK") and columns:
                continue  # T-SQL takes a table constraint without a comma before it
            if not self.accept(",") or self.at(")"):
                return tuple(columns), tuple(constraints), tuple(indexes)

    def _column_with_index(self) -> tuple[ast.ColumnDefinition, ast.IndexDefinition | None]:
        column = self.column_definition()
        index = self._inline_index(column.name) if self.at("INDEX") else None
        return column, index

    def column_definition(self) -> ast.ColumnDefinition:
        """``name type [properties]`` or ``name AS expression [PERSISTED]``."""
        name = self.name()
        if self.accept("AS"):
            return self._computed_column(name)
        if self.at(",", ")") and name.lower() == "timestamp":
            return ast.ColumnDefinition(name, ast.TypeName(ast.Name("timestamp"), types.TIMESTAMP))
        column = ast.ColumnDefinition(name, self.type_name())
        constraints: list[ast.Constraint] = []
        while True:
            constraint_name = self.name() if self.accept("CONSTRAINT") else None
            if self.accept_words("NOT", "NULL"):
                column = ast.replace(column, nullable=False)
            elif self.accept("NULL"):
                column = ast.replace(column, nullable=True)
            elif self.at("IDENTITY"):
                column = ast.replace(column, identity=self._identity())
            elif self.accept("COLLATE"):
                column = ast.replace(column, collation=self.collation_name())
            elif self.accept("ROWGUIDCOL"):
                column = ast.replace(column, rowguidcol=True)
            elif self.accept("SPARSE", "FILESTREAM", "HIDDEN", "PERSISTED"):
                continue
            elif self.at_words("GENERATED", "ALWAYS"):
                self.accept_words("GENERATED", "ALWAYS")
                self.expect("AS")
                self.word()
                self.expect("START", "END")
                column = ast.replace(column, generated=True)
            elif self.at("MASKED") or self.at_words("ENCRYPTED", "WITH"):
                self.advance()
                self.expect("WITH")
                self.skip_parentheses()
            elif self.at("DEFAULT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "FOREIGN"):
                constraints.append(self._column_constraint(constraint_name))
            elif constraint_name is not None:
                raise self.error()
            else:
                return ast.replace(column, constraints=tuple(constraints))

    def _computed_column(self, name: str) -> ast.ColumnDefinition:
        start = self.tok
        computed = self.expression()
        column = ast.ColumnDefinition(name, None, computed=computed, computed_text=self.source(start))
        if self.accept("PERSISTED"):
            column = ast.replace(column, persisted=True)
            if self.accept_words("NOT", "NULL"):
                column = ast.replace(column, nullable=False)
        constraints: list[ast.Constraint] = []
        while self.at("PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "FOREIGN") or (
            self.at("CONSTRAINT")
            and self.peek(2).word in ("PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "FOREIGN")
        ):
            constraint_name = self.name() if self.accept("CONSTRAINT") else None
            constraints.append(self._column_constraint(constraint_name))
        return ast.replace(column, constraints=tuple(constraints))

    def _identity(self) -> tuple[int, int]:
        self.expect("IDENTITY")
        seed, increment = 1, 1
        if self.accept("("):
            seed = self.integer()
            self.expect(",")
            increment = self.integer()
            self.expect(")")
        self.accept_words("NOT", "FOR", "REPLICATION")
        return seed, increment

    def _column_constraint(self, name: str | None) -> ast.Constraint:
        if self.accept("DEFAULT"):
            start = self.tok
            value = self.expression()
            text = self.source(start)
            self.accept_words("WITH", "VALUES")
            return ast.Constraint("DEFAULT", name, default=value, text=text)
        if self.at("PRIMARY", "UNIQUE"):
            return self._key(name, in_column=True)
        if self.at("CHECK"):
            return self._check(name)
        if self.accept("FOREIGN"):
            self.expect("KEY")
        return ast.Constraint("FOREIGN KEY", name, reference=self._reference())

    def table_constraint(self) -> ast.Constraint:
        """``[CONSTRAINT name] PRIMARY KEY | UNIQUE | FOREIGN KEY | CHECK | DEFAULT ... FOR column``."""
        name = self.name() if self.accept("CONSTRAINT") else None
        if self.at("PRIMARY", "UNIQUE"):
            return self._key(name, in_column=False)
        if self.at("CHECK"):
            return self._check(name)
        if self.accept("DEFAULT"):
            start = self.tok
            value = self.expression()
            text = self.source(start)
            self.expect("FOR")
            column = self.name()
            self.accept_words("WITH", "VALUES")
            return ast.Constraint("DEFAULT", name, default=value, for_column=column, text=text)
        self.expect("FOREIGN")
        self.expect("KEY")
        columns = tuple((column, False) for column in self.name_list())
        return ast.Constraint("FOREIGN KEY", name, columns, self._reference())

    def _key(self, name: str | None, *, in_column: bool) -> ast.Constraint:
        kind = "UNIQUE"
        if self.advance().word == "PRIMARY":
            self.expect("KEY")
            kind = "PRIMARY KEY"
        clustered = self._clustered()
        columns = () if in_column and not self.at("(") else self._sorted_columns()
        self._index_options()
        return ast.Constraint(kind, name, columns, clustered=clustered)

    def _check(self, name: str | None) -> ast.Constraint:
        self.expect("CHECK")
        self.accept_words("NOT", "FOR", "REPLICATION")
        start = self.tok
        self.expect("(")
        check = self.predicate()
        self.expect(")")
        return ast.Constraint("CHECK", name, check=check, text=self.source(start))

    def _reference(self) -> ast.Reference:
        self.expect("REFERENCES")
        table = self.object_name(3)
        columns = self.name_list() if self.at("(") else ()
        actions = {"DELETE": "NO ACTION", "UPDATE": "NO ACTION"}
        while True:
            if self.at("ON") and self.peek().word in actions:
                self.advance()
                event = self.advance().word
                if self.accept("SET"):
                    actions[event] = f"SET {self.expect('NULL', 'DEFAULT').word}"
                elif self.accept("CASCADE"):
                    actions[event] = "CASCADE"
                else:
                    self.expect("NO")
                    self.expect("ACTION")
            elif not self.accept_words("NOT", "FOR", "REPLICATION"):
                return ast.Reference(table, columns, actions["DELETE"], actions["UPDATE"])

    # ------------------------------------------------------------------ indexes

    def _clustered(self) -> bool | None:
        if not self.at(*_INDEX_KINDS):
            return None
        return self.advance().word == "CLUSTERED"

    def _sorted_columns(self) -> tuple[tuple[str, bool], ...]:
        self.expect("(")
        columns: list[tuple[str, bool]] = []
        while True:
            name = self.name()
            descending = self.accept("DESC")
            if not descending:
                self.accept("ASC")
            columns.append((name, descending))
            if not self.accept(","):
                self.expect(")")
                return tuple(columns)

    def _index_options(self) -> None:
        """WITH (...), WITH FILLFACTOR = n and ON place: accepted."""
        while True:
            if self.at_words("WITH", "("):
                self.advance()
                self.skip_parentheses()
            elif self.at("WITH") and self.peek(2).word == "=":
                self.advance()
                self._old_options()
            elif self.at("ON") and self.peek().word not in ("DELETE", "UPDATE"):
                self.advance()
                self._place()
            elif not (self.at("FILESTREAM_ON") and self.advance() and self.name()):
                return

    def _old_options(self) -> None:
        while True:
            self.word()
            self.expect("=")
            self.advance()
            if not (self.at(",") and self.peek(2).word == "="):
                return
            self.advance()

    def _inline_index(self, column: str | None) -> ast.IndexDefinition:
        self.expect("INDEX")
        name = self.name()
        unique = self.accept("UNIQUE")
        clustered = self._clustered()
        self.accept("COLUMNSTORE", "HASH")
        columns = self._sorted_columns() if self.at("(") else ()
        return self._index_rest(name, columns or ((column, False),) if column else columns, unique, clustered)

    def _index_rest(
        self, name: str, columns: tuple[tuple[str, bool], ...], unique: bool, clustered: bool | None
    ) -> ast.IndexDefinition:
        include = self.name_list() if self.accept("INCLUDE") else ()
        where = None
        text = ""
        if self.accept("WHERE"):
            start = self.tok
            where = self.predicate()
            text = self.source(start)
        self._index_options()
        return ast.IndexDefinition(name, columns, unique, clustered, include, where, text)

    def create_index(self) -> ast.Statement:
        """Behind CREATE, at ``[UNIQUE] [CLUSTERED | NONCLUSTERED] [COLUMNSTORE] INDEX``."""
        unique = self.accept("UNIQUE")
        clustered = self._clustered()
        whole = self.accept("COLUMNSTORE") and clustered
        self.expect("INDEX")
        name = self.name()
        self.expect("ON")
        table = self.object_name(3)
        columns = () if whole and not self.at("(") else self._sorted_columns()
        return ast.CreateIndex(table, self._index_rest(name, columns, unique, clustered))

    def drop_index(self) -> ast.Statement:
        """Behind ``DROP INDEX``: ``name ON table`` or the old ``table.name``."""
        if_exists = self.if_exists()
        items: list[tuple[str, ast.Name]] = []
        while True:
            name = self.object_name()
            if name.schema is None:
                self.expect("ON")
                items.append((name.object, self.object_name(3)))
            else:
                table = ast.Name(name.schema, name.database, name.server, pos=name.pos, line=name.line)
                items.append((name.object, table))
            if self.at_words("WITH", "("):
                self.advance()
                self.skip_parentheses()
            if not self.accept(","):
                return ast.DropIndex(tuple(items), if_exists)

    def alter_index(self) -> ast.Statement:
        """Behind ``ALTER INDEX``."""
        name = None if self.accept("ALL") else self.name()
        self.expect("ON")
        table = self.object_name(3)
        if self.accept("SET"):
            action = "SET"
            self.skip_parentheses()
        else:
            action = self.expect("REBUILD", "REORGANIZE", "DISABLE", "RESUME", "PAUSE", "ABORT").word
        if self.accept("PARTITION"):
            self.expect("=")
            self.advance()
        if self.at_words("WITH", "("):
            self.advance()
            self.skip_parentheses()
        return ast.AlterIndex(name, table, action)

    def if_exists(self) -> bool:
        return self.accept_words("IF", "EXISTS")

    # ------------------------------------------------------------------ ALTER TABLE

    def alter_table(self) -> ast.Statement:
        """Behind ``ALTER TABLE``."""
        name = self.object_name(3)
        with_check = True
        if self.at("WITH") and self.peek().word in ("CHECK", "NOCHECK"):
            self.advance()
            with_check = self.advance().word == "CHECK"
        if self.accept("ADD"):
            columns, constraints = self._added()
            return ast.AlterTable(name, ast.AddColumns(columns, constraints, with_check))
        if self.accept("ALTER"):
            self.expect("COLUMN")
            if self.peek().word in ("ADD", "DROP"):
                return ast.AlterTable(
                    name, ast.SwitchConstraints("ALTER COLUMN", (self._altered_property(),))
                )
            return ast.AlterTable(name, ast.AlterColumn(self.column_definition()))
        if self.accept("DROP"):
            return ast.AlterTable(name, self._dropped())
        if self.at("CHECK", "NOCHECK", "ENABLE", "DISABLE"):
            action = self.advance().word
            if self.at("CHANGE_TRACKING"):
                return self.unsupported(f"ALTER TABLE {action} CHANGE_TRACKING")
            kind = self.expect("CONSTRAINT", "TRIGGER").word
            names = () if self.accept("ALL") else self.names()
            return ast.AlterTable(name, ast.SwitchConstraints(f"{action} {kind}", names))
        if self.at("SET", "REBUILD", "SWITCH"):
            action = self.word()
            if self.at("(") and self.peek().word == "SYSTEM_VERSIONING":
                return self.unsupported("ALTER TABLE SET SYSTEM_VERSIONING")
            while not (self.at_end or self.at(";") or self._at_statement_word()):
                if self.at("("):
                    self.skip_parentheses()
                else:
                    self.advance()
            return ast.AlterTable(name, ast.SwitchConstraints(action, ()))
        raise self.error()

    def _at_statement_word(self) -> bool:
        return self.at("ALTER", "CREATE", "SELECT", "INSERT", "UPDATE", "DELETE", "DROP", "IF", "END", "ELSE")

    def _altered_property(self) -> str:
        """``ALTER COLUMN c ADD | DROP ROWGUIDCOL | PERSISTED | NOT FOR REPLICATION | SPARSE | HIDDEN``."""
        column = self.name()
        self.expect("ADD", "DROP")
        if not self.accept_words("NOT", "FOR", "REPLICATION"):
            self.word()
        return column

    def _added(self) -> tuple[tuple[ast.ColumnDefinition, ...], tuple[ast.Constraint, ...]]:
        columns: list[ast.ColumnDefinition] = []
        constraints: list[ast.Constraint] = []
        while True:
            if self.at("CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "DEFAULT"):
                constraints.append(self.table_constraint())
            else:
                columns.append(self.column_definition())
            if not self.accept(","):
                return tuple(columns), tuple(constraints)

    def _dropped(self) -> ast.DropColumns | ast.DropConstraints:
        columns: list[str] = []
        constraints: list[str] = []
        if_exists = False
        current = constraints
        while True:
            if self.accept("COLUMN"):
                current = columns
                if_exists |= self.if_exists()
            elif self.accept("CONSTRAINT"):
                current = constraints
                if_exists |= self.if_exists()
            else:
                if_exists |= self.if_exists()
            current.append(self.name())
            if self.at_words("WITH", "("):
                self.advance()
                self.skip_parentheses()
            if not self.accept(","):
                break
        if columns and constraints:
            return ast.DropColumns(tuple(columns), if_exists, tuple(constraints))
        if columns:
            return ast.DropColumns(tuple(columns), if_exists)
        return ast.DropConstraints(tuple(constraints), if_exists)
