import json
from pathlib import Path

import pytest
import torch

from star_worker.seeds import derive_seed, seeded_normal

GOLDEN = Path(__file__).parents[3] / "golden" / "seeds.json"


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text())["cases"], ids=str)
def test_seeds_equal_the_golden_ones(case: dict) -> None:
    assert derive_seed(int(case["root"]), *case["path"]) == int(case["seed"])


def test_noise_of_a_row_does_not_depend_on_the_other_rows() -> None:
    together = seeded_normal([5, 6, 7], (4, 2, 2))
    assert torch.equal(together[1:2], seeded_normal([6], (4, 2, 2)))
    assert not torch.equal(together[0], together[1])
