"""docs/cloud.md: its statements, against an S3 server on loopback in the place of the page's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.pages import ROOT, Reader
from tests.objects.s3_server import KEY, SECRET, s3_server
from tests.running import running

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "cloud.md").read_text()


def test_the_statements_run(tmp_path: Path) -> None:
    ((statements),) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    with s3_server() as s3, running(tmp_path / "data") as server:
        bucket = s3.bucket("backups")
        here = statements.replace("s3://minio.example:9000/backups", bucket).replace(
            "ID:KEY", f"{KEY}:{SECRET}"
        )
        assert here.count(bucket) == 5
        reader = Reader(tmp_path, server)
        reader.sql("CREATE DATABASE shop")
        reader.sql(here)
        families = (
            "SELECT physical_device_name FROM msdb.dbo.backupmediafamily ORDER BY family_sequence_number"
        )
        (rows,) = reader.sql(families)
        assert [name for (name,) in rows] == [f"{bucket}/shop_{n}.bak" for n in (1, 2)]


def test_the_options_are_json() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert set(json.loads(text)) == {"s3", "azure", "gcs"}
