from pathlib import Path

import pytest

from star_worker.golden import check_folder

FOLDER = Path(__file__).parents[4] / "shared" / "golden"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the golden folder is absent")
def test_reference_cases_are_reproduced(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_folder(FOLDER) == 0
    assert "sde_step: 1 cases, 0 mismatches" in capsys.readouterr().out
