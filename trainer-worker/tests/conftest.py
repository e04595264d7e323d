import sys
from pathlib import Path

import pytest
import torch

from tests.tiny_pipeline import build_pipeline

# Last on the path: as a first entry the folder tests/star_worker would hide the package of that name.
sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny-pipeline")
    build_pipeline().save_pretrained(folder)
    return folder
