# SPDX-License-Identifier: Apache-2.0
"""Files are written completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mwaa_provider.packaging import file_writing
from airflow_mwaa_provider.packaging.file_writing import write_text


def test_a_file_that_is_up_to_date_needs_no_folder_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "startup.sh"
    assert write_text(path, "echo \u00e9\n") is True

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path.chmod(0o700)
    monkeypatch.setattr(file_writing, "Draft", refused)
    assert write_text(path, "echo \u00e9\n") is False
    monkeypatch.undo()
    assert write_text(path, "echo e\n") is True
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("echo e\n", 0o700)
    assert [each.name for each in tmp_path.iterdir()] == ["startup.sh"]
