"""Asks ScriptDom: a line of JSON in, a line of JSON out. A process of its own, for the sake of the runtime.

    {"sql": TEXT, "quoted": true} -> {"errors": [[number, line, text]], "statements": [[kind, start, length]]}

Run with the packages dotnetcore2, pythonnet and clr_loader on PYTHONPATH and the DLL as the only argument.
"""

import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

INSIDE = (
    "StatementList",
    "ThenStatement",
    "ElseStatement",
    "Statement",
    "TryStatements",
    "CatchStatements",
)
"""The properties of a statement that hold statements, in the order of the text."""


def start(dll: str) -> Any:
    os.environ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1"
    import dotnetcore2
    from clr_loader import get_coreclr
    from pythonnet import set_runtime

    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "runtime.json")
        framework = {"name": "Microsoft.NETCore.App", "version": "3.1.0"}
        config.write_text(json.dumps({"runtimeOptions": {"framework": framework}}))
        root = pathlib.Path(dotnetcore2.__file__).parent / "bin"
        set_runtime(get_coreclr(runtime_config=str(config), dotnet_root=str(root)))
    import clr

    clr.AddReference(dll)
    from Microsoft.SqlServer.TransactSql.ScriptDom import TSql150Parser

    return TSql150Parser


def statements(node: Any) -> Iterator[tuple[str, int, int]]:
    """The statement and those inside it. The block of a function's body is no statement of its own."""
    kind = node.GetType().Name
    yield kind, node.StartOffset, node.FragmentLength
    for name in INSIDE:
        inside = getattr(node, name, None)
        if inside is None:
            continue
        found = inside.Statements if inside.GetType().Name == "StatementList" else [inside]
        for each in found:
            block = "Function" in kind and each.GetType().Name == "BeginEndBlockStatement"
            yield from list(statements(each))[1 if block else 0 :]


def main() -> None:
    parser = start(sys.argv[1])
    from System.IO import StringReader

    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        tree, errors = parser(asked.get("quoted", True)).Parse(StringReader(asked["sql"]), None)
        found = [] if tree is None else [each for batch in tree.Batches for each in batch.Statements]
        answer = {
            "errors": [[each.Number, each.Line, each.Message] for each in errors],
            "statements": [list(each) for node in found for each in statements(node)],
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
