"""The syntax tree of T-SQL scripts.

Nodes are frozen dataclasses without behaviour. ``pos`` is the offset of the node's first character in
the batch (UTF-16 units are not counted: it indexes the Python string); ``line`` its 1-based line. Nodes
that are statements have ``pos``, ``end`` (offset behind the last character, ``;`` excluded) and ``line``.

Names keep the spelling of the source, without brackets or quotes; they are compared without case.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from tdsproxy.tsql.types import SqlType

# --------------------------------------------------------------------------- names


@dataclass(frozen=True, slots=True)
class Name:
    """A possibly qualified object name: ``server.database.schema.object``, parts left out are None.

    ``db..object`` has schema None and database set. ``#t`` and ``@t`` (table variable) are objects whose
    name keeps the sign.
    """

    object: str
    schema: str | None = None
    database: str | None = None
    server: str | None = None
    pos: int = field(default=0, compare=False)
    line: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type as written; ``type`` None for a user-defined name that only the catalog can resolve."""

    name: Name
    type: SqlType | None


# --------------------------------------------------------------------------- expressions


@dataclass(frozen=True, slots=True, kw_only=True)
class Expr:
    pos: int = field(default=0, compare=False)
    line: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Literal(Expr):
    """``value`` is int, Decimal (``1.5``), float (``1e0``), str, bytes (``0x``) or None (NULL).

    ``type``: int or bigint-sized integers are int / decimal as T-SQL types them (a literal beyond int is
    decimal(n,0)); ``'x'`` varchar(n), ``N'x'`` nvarchar(n), ``0x`` varbinary(n), ``$1`` money.
    """

    value: int | Decimal | float | str | bytes | None
    type: SqlType


@dataclass(frozen=True, slots=True)
class Variable(Expr):
    """``@name`` (with its sign)."""

    name: str


@dataclass(frozen=True, slots=True)
class GlobalVariable(Expr):
    """``@@name`` (with its signs)."""

    name: str


@dataclass(frozen=True, slots=True)
class ColumnRef(Expr):
    """``parts`` from the left: (column,), (table, column), (schema, table, column) ..."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Star(Expr):
    """``*`` or ``t.*`` in a select list, and the argument of COUNT(*)."""

    qualifier: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unary(Expr):
    """``op`` is ``-``, ``+`` or ``~``."""

    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Expr):
    """``op`` is one of ``+ - * / % & | ^``."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class FunctionCall(Expr):
    """A function by name; ``name.object`` keeps its spelling. ``args`` may hold ``Star`` for COUNT(*), and
    a ``DatePart`` where the syntax wants one. ``distinct`` for COUNT(DISTINCT x)."""

    name: Name
    args: tuple[Expr, ...]
    distinct: bool = False
    over: Over | None = None
    within_group: tuple[OrderItem, ...] = ()


@dataclass(frozen=True, slots=True)
class DatePart(Expr):
    """The bare word of DATEADD(day, ...), normalised to lower case, as written (``dd``, ``day``)."""

    name: str


@dataclass(frozen=True, slots=True)
class Cast(Expr):
    """CAST, CONVERT, TRY_CAST, TRY_CONVERT, PARSE is not among them."""

    operand: Expr
    type: TypeName
    style: Expr | None = None
    try_: bool = False


@dataclass(frozen=True, slots=True)
class Case(Expr):
    """``operand`` None for the searched form, whose conditions are predicates (``Predicate`` nodes); in the
    simple form they are values."""

    operand: Expr | None
    whens: tuple[tuple[Expr, Expr], ...]
    otherwise: Expr | None


@dataclass(frozen=True, slots=True)
class Subquery(Expr):
    """A scalar subquery."""

    query: Query


@dataclass(frozen=True, slots=True)
class Collate(Expr):
    operand: Expr
    collation: str


@dataclass(frozen=True, slots=True)
class MethodCall(Expr):
    """``expr.value('.', 'nvarchar(max)')`` and its kin on xml."""

    operand: Expr
    method: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class NextValue(Expr):
    sequence: Name


@dataclass(frozen=True, slots=True)
class Default(Expr):
    """The word DEFAULT as an argument of a table function."""


@dataclass(frozen=True, slots=True)
class Over:
    partition: tuple[Expr, ...] = ()
    order: tuple[OrderItem, ...] = ()
    frame: str | None = None
    """The frame clause as SQLite takes it too: ``ROWS BETWEEN 1 PRECEDING AND CURRENT ROW``."""


@dataclass(frozen=True, slots=True)
class OrderItem:
    expr: Expr
    descending: bool = False


# predicates: T-SQL's booleans are not values, so they are nodes of their own


@dataclass(frozen=True, slots=True)
class Predicate(Expr):
    pass


@dataclass(frozen=True, slots=True)
class Comparison(Predicate):
    """``op`` is ``= <> < <= > >=`` (``!=``, ``!<``, ``!>`` are normalised)."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class QuantifiedComparison(Predicate):
    """``x > ALL (SELECT ...)``; ``quantifier`` is ALL or ANY."""

    op: str
    left: Expr
    quantifier: str
    query: Query


@dataclass(frozen=True, slots=True)
class And(Predicate):
    left: Predicate
    right: Predicate


@dataclass(frozen=True, slots=True)
class Or(Predicate):
    left: Predicate
    right: Predicate


@dataclass(frozen=True, slots=True)
class Not(Predicate):
    operand: Predicate


@dataclass(frozen=True, slots=True)
class IsNull(Predicate):
    operand: Expr
    negated: bool = False


@dataclass(frozen=True, slots=True)
class IsDistinct(Predicate):
    """``left IS [NOT] DISTINCT FROM right``; never unknown."""

    left: Expr
    right: Expr
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Between(Predicate):
    operand: Expr
    low: Expr
    high: Expr
    negated: bool = False


@dataclass(frozen=True, slots=True)
class InList(Predicate):
    operand: Expr
    items: tuple[Expr, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class InQuery(Predicate):
    operand: Expr
    query: Query
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Like(Predicate):
    operand: Expr
    pattern: Expr
    escape: Expr | None = None
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Exists(Predicate):
    query: Query


@dataclass(frozen=True, slots=True)
class UpdatePredicate(Predicate):
    """``UPDATE(column)`` inside a trigger."""

    column: str


# --------------------------------------------------------------------------- queries


@dataclass(frozen=True, slots=True)
class SelectItem:
    """One item of a select list. ``variable`` is set for ``@v = expr`` (``assign_op`` ``=``, ``+=`` ...)."""

    expr: Expr
    alias: str | None = None
    variable: str | None = None
    assign_op: str = "="


@dataclass(frozen=True, slots=True)
class Top:
    count: Expr
    percent: bool = False
    with_ties: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something in a FROM clause."""

    alias: str | None = None
    columns: tuple[str, ...] = ()
    """Column names given after the alias: ``(VALUES ...) v(a, b)``."""
    pos: int = field(default=0, compare=False)
    line: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class TableSource(Source):
    """A table, view, CTE, temp table or table variable; hints are kept in upper case and change nothing."""

    name: Name
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FunctionSource(Source):
    """A table function; ``xml.nodes()`` has the xml's name as the schema of the call's name. ``schema`` is
    the WITH list of OPENJSON."""

    call: FunctionCall
    schema: tuple[JsonColumn, ...] = ()


@dataclass(frozen=True, slots=True)
class JsonColumn:
    name: str
    type: TypeName
    path: str | None = None
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class DerivedTable(Source):
    query: Query


@dataclass(frozen=True, slots=True)
class ValuesSource(Source):
    rows: tuple[tuple[Expr, ...], ...]


@dataclass(frozen=True, slots=True)
class Join(Source):
    """``kind`` is INNER, LEFT, RIGHT, FULL, CROSS, ``CROSS APPLY`` or ``OUTER APPLY``."""

    kind: str
    left: Source
    right: Source
    on: Predicate | None = None


@dataclass(frozen=True, slots=True)
class Pivot(Source):
    source: Source
    aggregate: FunctionCall
    column: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unpivot(Source):
    """``UNPIVOT (value FOR column IN (columns))``."""

    source: Source
    value: str
    column: str
    columns_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class XmlClause:
    """FOR XML / FOR JSON: ``kind`` XML or JSON, ``mode`` PATH, RAW, AUTO; options in upper case."""

    kind: str
    mode: str
    path: str | None = None
    options: tuple[str, ...] = ()
    root: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What may stand in parentheses as a table: a select, a set operation, each with its own tail."""

    order: tuple[OrderItem, ...] = ()
    offset: Expr | None = None
    fetch: Expr | None = None
    for_: XmlClause | None = None
    with_: tuple[CommonTable, ...] = ()
    options: tuple[str, ...] = ()
    """OPTION (...) items in upper case, ``MAXRECURSION 0``."""
    pos: int = field(default=0, compare=False)
    line: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Select(Query):
    items: tuple[SelectItem, ...]
    sources: tuple[Source, ...] = ()
    """The comma list of FROM; joins are single ``Join`` sources."""
    where: Predicate | None = None
    group: tuple[Expr, ...] = ()
    grouping: str | None = None
    """ROLLUP, CUBE or GROUPING SETS text where one was written."""
    having: Predicate | None = None
    distinct: bool = False
    top: Top | None = None
    into: Name | None = None


@dataclass(frozen=True, slots=True)
class SetOperation(Query):
    """``op`` is UNION, UNION ALL, EXCEPT or INTERSECT."""

    op: str
    left: Query
    right: Query


@dataclass(frozen=True, slots=True)
class CommonTable:
    name: str
    columns: tuple[str, ...]
    query: Query


# --------------------------------------------------------------------------- statements


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    pos: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)
    line: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """One parsed batch. ``text`` is what the positions index."""

    text: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class QueryStatement(Statement):
    """SELECT as a statement, also with INTO or with variable assignment."""

    query: Query


@dataclass(frozen=True, slots=True)
class OutputClause:
    items: tuple[SelectItem, ...]
    into: Name | None = None
    into_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Insert(Statement):
    """Exactly one of ``rows``, ``query``, ``execute`` is set, or ``default_values``. In ``rows`` a None
    stands for DEFAULT."""

    target: Name
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Expr | None, ...], ...] | None = None
    query: Query | None = None
    execute: Execute | ExecuteString | None = None
    default_values: bool = False
    output: OutputClause | None = None
    top: Top | None = None
    with_: tuple[CommonTable, ...] = ()


@dataclass(frozen=True, slots=True)
class SetColumn:
    """``column = value`` or ``@v = column = value`` of UPDATE; ``value`` None is DEFAULT; ``column`` None
    when only a variable is set."""

    column: tuple[str, ...] | None
    value: Expr | None
    op: str = "="
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Update(Statement):
    """``target`` may be a table name or an alias of ``sources``."""

    target: Name
    assignments: tuple[SetColumn, ...]
    sources: tuple[Source, ...] = ()
    where: Predicate | None = None
    top: Top | None = None
    output: OutputClause | None = None
    with_: tuple[CommonTable, ...] = ()
    current_of: str | None = None


@dataclass(frozen=True, slots=True)
class Delete(Statement):
    target: Name
    sources: tuple[Source, ...] = ()
    where: Predicate | None = None
    top: Top | None = None
    output: OutputClause | None = None
    with_: tuple[CommonTable, ...] = ()
    current_of: str | None = None


@dataclass(frozen=True, slots=True)
class Merge(Statement):
    """Kept as text until MERGE is built."""

    text: str


@dataclass(frozen=True, slots=True)
class Truncate(Statement):
    target: Name


# DDL


@dataclass(frozen=True, slots=True)
class Reference:
    """The REFERENCES part of a foreign key."""

    table: Name
    columns: tuple[str, ...] = ()
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"


@dataclass(frozen=True, slots=True)
class Constraint:
    """``kind`` is ``PRIMARY KEY``, UNIQUE, ``FOREIGN KEY``, CHECK or DEFAULT; ``columns`` as (name,
    descending). ``text`` is the source text of a CHECK's predicate or a DEFAULT's expression."""

    kind: str
    name: str | None = None
    columns: tuple[tuple[str, bool], ...] = ()
    reference: Reference | None = None
    check: Predicate | None = None
    default: Expr | None = None
    for_column: str | None = None
    clustered: bool | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    """``computed`` is the expression of ``name AS expr`` (then ``type`` is None). ``nullable`` None when
    neither NULL nor NOT NULL was written."""

    name: str
    type: TypeName | None
    nullable: bool | None = None
    identity: tuple[int, int] | None = None
    """(seed, increment)."""
    collation: str | None = None
    constraints: tuple[Constraint, ...] = ()
    computed: Expr | None = None
    computed_text: str = ""
    persisted: bool = False
    rowguidcol: bool = False


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    name: str | None
    columns: tuple[tuple[str, bool], ...]
    unique: bool = False
    clustered: bool | None = None
    include: tuple[str, ...] = ()
    where: Predicate | None = None
    where_text: str = ""


@dataclass(frozen=True, slots=True)
class CreateTable(Statement):
    name: Name
    columns: tuple[ColumnDefinition, ...]
    constraints: tuple[Constraint, ...] = ()
    indexes: tuple[IndexDefinition, ...] = ()


@dataclass(frozen=True, slots=True)
class AlterTable(Statement):
    """``action``: one of the Alter... records below."""

    name: Name
    action: AddColumns | DropColumns | AlterColumn | DropConstraints | SwitchConstraints


@dataclass(frozen=True, slots=True)
class AddColumns:
    columns: tuple[ColumnDefinition, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    with_check: bool = True


@dataclass(frozen=True, slots=True)
class DropColumns:
    """``constraints`` are those dropped by the same statement, before the columns."""

    names: tuple[str, ...]
    if_exists: bool = False
    constraints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlterColumn:
    column: ColumnDefinition


@dataclass(frozen=True, slots=True)
class DropConstraints:
    names: tuple[str, ...]
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class SwitchConstraints:
    """CHECK / NOCHECK CONSTRAINT, ENABLE / DISABLE TRIGGER: ``names`` empty for ALL."""

    action: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CreateIndex(Statement):
    table: Name
    index: IndexDefinition


@dataclass(frozen=True, slots=True)
class DropIndex(Statement):
    """(index name, table) pairs."""

    items: tuple[tuple[str, Name], ...]
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class AlterIndex(Statement):
    """REBUILD, REORGANIZE, DISABLE: accepted; ``action`` in upper case, ``name`` None for ALL."""

    name: str | None
    table: Name
    action: str


@dataclass(frozen=True, slots=True)
class CreateView(Statement):
    name: Name
    columns: tuple[str, ...]
    query: Query
    text: str
    """The whole statement, to the byte."""
    alter: bool = False
    or_alter: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """A procedure's or function's parameter (``name`` with its sign)."""

    name: str
    type: TypeName
    default: Expr | None = None
    output: bool = False
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class CreateProcedure(Statement):
    name: Name
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    text: str
    alter: bool = False
    or_alter: bool = False


@dataclass(frozen=True, slots=True)
class CreateFunction(Statement):
    """``returns``: a type, or ``TABLE`` with ``query`` (inline) or ``table`` (multi-statement)."""

    name: Name
    parameters: tuple[Parameter, ...]
    returns: TypeName | None
    body: tuple[Statement, ...]
    text: str
    query: Query | None = None
    table: tuple[ColumnDefinition, ...] = ()
    table_variable: str | None = None
    alter: bool = False
    or_alter: bool = False
    table_constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateTrigger(Statement):
    name: Name
    table: Name
    timing: str
    """AFTER or ``INSTEAD OF``."""
    events: tuple[str, ...]
    body: tuple[Statement, ...]
    text: str
    alter: bool = False
    or_alter: bool = False


@dataclass(frozen=True, slots=True)
class CreateSchema(Statement):
    name: str
    authorization: str | None = None


@dataclass(frozen=True, slots=True)
class DropObject(Statement):
    """DROP of TABLE, VIEW, PROCEDURE, FUNCTION, TRIGGER, SCHEMA, SYNONYM, SEQUENCE, TYPE (``kind``)."""

    kind: str
    names: tuple[Name, ...]
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class CreateSynonym(Statement):
    name: Name
    target: Name


@dataclass(frozen=True, slots=True)
class CreateType(Statement):
    """An alias type (``base``) or a table type (``columns``)."""

    name: Name
    base: TypeName | None
    nullable: bool = True
    columns: tuple[ColumnDefinition, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    indexes: tuple[IndexDefinition, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateSequence(Statement):
    """``options`` are (START, n), (INCREMENT, n), (MINVALUE, n or None for NO MINVALUE), (CYCLE, 1 or None),
    (CACHE, n)."""

    name: Name
    type: TypeName | None
    options: tuple[tuple[str, int | None], ...] = ()
    alter: bool = False


@dataclass(frozen=True, slots=True)
class AlterSchema(Statement):
    """ALTER SCHEMA s TRANSFER object."""

    schema: str
    object: Name


@dataclass(frozen=True, slots=True)
class CreateDatabase(Statement):
    """File lists are kept as (logical name, physical name) pairs, data first."""

    name: str
    files: tuple[tuple[str, str], ...] = ()
    log_files: tuple[tuple[str, str], ...] = ()
    collation: str | None = None
    snapshot_of: str | None = None
    for_attach: bool = False


@dataclass(frozen=True, slots=True)
class AlterDatabase(Statement):
    """``name`` None for CURRENT. ``action`` SET (``options`` as (word, argument words) in upper case),
    ``MODIFY NAME`` (``new_name``), or the words of another accepted form in upper case. ``termination`` is
    ``ROLLBACK IMMEDIATE``, ``ROLLBACK AFTER n``, ``NO_WAIT`` or None."""

    name: str | None
    action: str
    options: tuple[tuple[str, str], ...] = ()
    termination: str | None = None
    new_name: str | None = None


@dataclass(frozen=True, slots=True)
class DropDatabase(Statement):
    names: tuple[str, ...]
    if_exists: bool = False


# security


@dataclass(frozen=True, slots=True)
class CreateLogin(Statement):
    """``password`` as written; never repr'd into a log. ``options`` in upper case words to text."""

    name: str
    password: str | None = field(default=None, repr=False)
    options: tuple[tuple[str, str], ...] = ()
    alter: bool = False
    old_password: str | None = field(default=None, repr=False)
    disable: bool | None = None
    hashed: bool = False


@dataclass(frozen=True, slots=True)
class DropLogin(Statement):
    name: str


@dataclass(frozen=True, slots=True)
class CreateUser(Statement):
    name: str
    login: str | None = None
    default_schema: str | None = None
    alter: bool = False


@dataclass(frozen=True, slots=True)
class DropUser(Statement):
    name: str
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class AlterRole(Statement):
    """ALTER [SERVER] ROLE r ADD | DROP MEMBER m; CREATE/DROP ROLE have ``action`` CREATE/DROP."""

    role: str
    action: str
    member: str | None = None
    server: bool = False


@dataclass(frozen=True, slots=True)
class Permission(Statement):
    """GRANT, DENY, REVOKE: ``permissions`` in upper case."""

    action: str
    permissions: tuple[str, ...]
    on: Name | None
    principals: tuple[str, ...]


# flow


@dataclass(frozen=True, slots=True)
class Declaration:
    """``table`` holds the columns of a table variable, then ``type`` is None."""

    name: str
    type: TypeName | None
    value: Expr | None = None
    table: tuple[ColumnDefinition, ...] = ()
    table_constraints: tuple[Constraint, ...] = ()
    table_indexes: tuple[IndexDefinition, ...] = ()


@dataclass(frozen=True, slots=True)
class Declare(Statement):
    items: tuple[Declaration, ...]


@dataclass(frozen=True, slots=True)
class SetVariable(Statement):
    """``op`` is ``=``, ``+=`` ..., or ``modify`` for ``SET @x.modify(...)`` with the call as ``value``."""

    name: str
    value: Expr
    op: str = "="


@dataclass(frozen=True, slots=True)
class SetOption(Statement):
    """``SET NOCOUNT, XACT_ABORT ON``: ``names`` in upper case (``TRANSACTION ISOLATION LEVEL`` is one name),
    ``value`` ON, OFF, words in upper case, a literal's text, or an expression (a variable)."""

    names: tuple[str, ...]
    value: str
    expr: Expr | None = None


@dataclass(frozen=True, slots=True)
class SetIdentityInsert(Statement):
    table: Name
    on: bool


@dataclass(frozen=True, slots=True)
class Block(Statement):
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class If(Statement):
    condition: Predicate
    then: Statement
    otherwise: Statement | None = None


@dataclass(frozen=True, slots=True)
class While(Statement):
    condition: Predicate
    body: Statement


@dataclass(frozen=True, slots=True)
class Break(Statement):
    pass


@dataclass(frozen=True, slots=True)
class Continue(Statement):
    pass


@dataclass(frozen=True, slots=True)
class Goto(Statement):
    label: str


@dataclass(frozen=True, slots=True)
class Label(Statement):
    name: str


@dataclass(frozen=True, slots=True)
class Return(Statement):
    value: Expr | None = None


@dataclass(frozen=True, slots=True)
class TryCatch(Statement):
    try_: tuple[Statement, ...]
    catch: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Throw(Statement):
    """All None for the bare form."""

    number: Expr | None = None
    message: Expr | None = None
    state: Expr | None = None


@dataclass(frozen=True, slots=True)
class Raiserror(Statement):
    message: Expr
    severity: Expr
    state: Expr
    args: tuple[Expr, ...] = ()
    options: tuple[str, ...] = ()
    """LOG, NOWAIT, SETERROR."""


@dataclass(frozen=True, slots=True)
class Print(Statement):
    value: Expr


@dataclass(frozen=True, slots=True)
class WaitFor(Statement):
    """``kind`` DELAY or TIME."""

    kind: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Use(Statement):
    database: str


@dataclass(frozen=True, slots=True)
class ExecArgument:
    """``value`` None is DEFAULT. ``name`` with its sign for ``@p = value``."""

    value: Expr | None
    name: str | None = None
    output: bool = False


@dataclass(frozen=True, slots=True)
class Execute(Statement):
    """EXEC of a procedure; ``procedure`` is a name or a variable that holds one. ``result`` is the variable
    of ``EXEC @rc = p``. A batch that starts with a bare procedure name is this, too."""

    procedure: Name | Variable
    arguments: tuple[ExecArgument, ...] = ()
    result: str | None = None


@dataclass(frozen=True, slots=True)
class ExecuteString(Statement):
    """``EXEC ('...' + @v)``; the parts are concatenated. ``at`` names a linked server."""

    parts: tuple[Expr, ...]
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Transaction(Statement):
    """``action`` BEGIN, COMMIT, ROLLBACK or SAVE; ``name`` a literal name or a variable; ``mark`` the text of
    WITH MARK ('' when none was given)."""

    action: str
    name: str | Variable | None = None
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class DeclareCursor(Statement):
    name: str
    query: Query
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CursorAction(Statement):
    """``action`` OPEN, CLOSE or DEALLOCATE; ``cursor`` a name, or a variable with its sign."""

    action: str
    cursor: str


@dataclass(frozen=True, slots=True)
class Fetch(Statement):
    """``direction`` NEXT, PRIOR, FIRST, LAST, ABSOLUTE or RELATIVE."""

    cursor: str
    direction: str = "NEXT"
    count: Expr | None = None
    into: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dbcc(Statement):
    """``command`` in upper case; ``args`` as expressions, bare words as string literals."""

    command: str
    args: tuple[Expr, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kill(Statement):
    session: Expr


@dataclass(frozen=True, slots=True)
class Checkpoint(Statement):
    pass


@dataclass(frozen=True, slots=True)
class Reconfigure(Statement):
    pass


@dataclass(frozen=True, slots=True)
class InsertBulk(Statement):
    """INSERT BULK, which drivers send before a bulk load message; ``columns`` as it names them."""

    target: Name
    text: str
    columns: tuple[ColumnDefinition, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted(Statement):
    """A statement that is read whole and does nothing here (UPDATE STATISTICS, SETUSER ...)."""

    words: str


# --------------------------------------------------------------------------- native statements


@dataclass(frozen=True, slots=True)
class Operand:
    """A value in a native statement: a literal (``value``), a variable (``variable`` with its sign) or an
    identifier (``value`` its text, ``identifier`` True)."""

    value: str | int | None = None
    variable: str | None = None
    identifier: bool = False
    pos: int = field(default=0, compare=False)
    line: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Device:
    """``kind`` is DISK, URL, TAPE, VIRTUAL_DEVICE, DATABASE_SNAPSHOT or LOGICAL."""

    kind: str
    name: Operand


@dataclass(frozen=True, slots=True)
class Option:
    """One WITH option: ``name`` in upper case (``STATS``, ``MOVE``, ``COMPRESSION`` ...); ``values`` its
    operands: MOVE has two, STOPATMARK one or two (AFTER); ``arguments`` the parenthesised words of
    COMPRESSION and ENCRYPTION as (WORD, operand) pairs."""

    name: str
    values: tuple[Operand, ...] = ()
    arguments: tuple[tuple[str, Operand], ...] = ()
    pos: int = field(default=0, compare=False)
    line: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class NativeStatement(Statement):
    """BACKUP and RESTORE in all their forms, and what belongs to them."""


@dataclass(frozen=True, slots=True)
class Backup(NativeStatement):
    """``kind`` is DATABASE, LOG, GROUP (the databases in ``group``) or SERVER. ``files`` are the (FILE |
    FILEGROUP | READ_WRITE_FILEGROUPS, operand) selections in front of TO."""

    kind: str
    database: Operand
    devices: tuple[Device, ...]
    mirrors: tuple[tuple[Device, ...], ...] = ()
    options: tuple[Option, ...] = ()
    files: tuple[tuple[str, Operand | None], ...] = ()
    group: tuple[Operand, ...] = ()


@dataclass(frozen=True, slots=True)
class Restore(NativeStatement):
    """``kind`` is DATABASE, LOG, HEADERONLY, FILELISTONLY, LABELONLY, VERIFYONLY, REWINDONLY or
    BACKUPSETONLY; ``database`` None for the -ONLY forms; ``devices`` empty for ``RESTORE DATABASE x WITH
    RECOVERY``."""

    kind: str
    database: Operand | None
    devices: tuple[Device, ...]
    options: tuple[Option, ...] = ()
    files: tuple[tuple[str, Operand | None], ...] = ()


@dataclass(frozen=True, slots=True)
class KeyStatement(NativeStatement):
    """Master keys, certificates, credentials and their backup: ``action`` (``CREATE CERTIFICATE``,
    ``BACKUP MASTER KEY`` ...) and ``clauses`` as (WORDS, operand) pairs; completed in a later step."""

    action: str
    name: str | None = None
    clauses: tuple[tuple[str, Operand], ...] = field(default=(), repr=False)
