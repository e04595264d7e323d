"""Recomputes the golden cases of a folder with the product's functions: `python -m star_worker.golden FOLDER`.

Prints one line per file, `name: N cases, M mismatches`, and exits with 1 where M > 0. Absent files are skipped.
"""

import gzip
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from star_worker.flow_sde import score_step, step_mean, step_rule
from star_worker.kl_penalty import mean_kl
from star_worker.policy_gradient import clipped, form_ratio, ratio_statistics
from star_worker.schedule import diffusers_sigmas
from star_worker.types import Sampler

Case = dict[str, Any]
# Samplers and their names in std_table.
_STD_FIELDS: tuple[tuple[Sampler, str], ...] = (("flow_sde", "sde_std_dev_t"), ("cps", "cps_std_dev_t"))
_TOLERANCES = {"absolute": 2e-6, "log_prob_relative": 1e-5, "std_relative": 1e-6, "loss": 1e-6, "gradient": 1e-5}
_RATIO_TOLERANCE = 2e-7
_TABLE_SHIFT = 3.0
_PATCH_SIZE = 2


def main() -> None:
    """Check the folder named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m star_worker.golden FOLDER")
    folder = Path(sys.argv[1])
    if not folder.is_dir():
        sys.exit(f"golden: {folder} is not a folder; give the folder that holds the golden files")
    sys.exit(1 if check_folder(folder) else 0)


def check_folder(folder: Path) -> int:
    """Check every known file of `folder`, print a line for each, return the number of mismatching cases."""
    total = 0
    for name, (list_name, check) in _FILES.items():
        document = _read(folder, name)
        if document is None:
            continue
        mismatches = sum(not all(check(case)) for case in document[list_name])
        total += mismatches
        print(f"{name}: {len(document[list_name])} cases, {mismatches} mismatches")
    return total


def _read(folder: Path, name: str) -> dict[str, list[Case]] | None:
    plain, packed = folder / f"{name}.json", folder / f"{name}.json.gz"
    document: dict[str, list[Case]]
    if plain.is_file():
        document = json.loads(plain.read_text())
    elif packed.is_file():
        document = json.loads(gzip.decompress(packed.read_bytes()))
    else:
        return None
    return document


def _tensor(field: Any) -> Tensor:
    return torch.from_numpy(np.array(field["data"], field["dtype"]).reshape(field["shape"]))


def _close(actual: Tensor | float, expected: Any, absolute: float, relative: float) -> bool:
    wanted = _tensor(expected).double()
    return torch.allclose(torch.as_tensor(actual).double(), wanted, rtol=relative, atol=absolute, equal_nan=False)


def _flow_sde_case(case: Case) -> Iterator[bool]:
    return _trajectory_case(case, "flow_sde")


def _cps_case(case: Case) -> Iterator[bool]:
    return _trajectory_case(case, "cps")


def _trajectory_case(case: Case, sampler: Sampler) -> Iterator[bool]:
    sigmas = tuple(_tensor(case["sigmas"]).tolist())
    trajectory = [_tensor(latent) for latent in case["trajectory"]]
    yield _close(torch.tensor(diffusers_sigmas(case["T"], case["shift"])), case["sigmas"], 1e-7, 0)
    for expected in case["steps"]:
        index = expected["index"]
        rule = step_rule(sampler, sigmas, index, case["noise_level"])
        yield _close(rule.diffusion, _first(expected["std_dev_t"]), 1e-12, _TOLERANCES["std_relative"])
        yield _close(rule.std, expected["noise_std"], 1e-12, _TOLERANCES["std_relative"])
        for policy in ("old", "new"):
            velocity = _tensor(case[f"model_output_{policy}"])
            step = score_step(rule, trajectory[index], velocity, trajectory[index + 1], _PATCH_SIZE)
            yield _close(
                step.log_density.mean(1),
                expected[f"log_prob_{policy}"],
                _TOLERANCES["absolute"],
                _TOLERANCES["log_prob_relative"],
            )
            if (mean := expected.get(f"prev_sample_mean_{policy}")) is not None:
                own = step_mean(rule, trajectory[index], velocity)
                yield _close(own, mean, _TOLERANCES["absolute"], 0)


def _first(field: Case) -> Case:
    """Return the first element of a field whose elements are all alike."""
    return {"dtype": field["dtype"], "shape": [], "data": _tensor(field).flatten()[0].item()}


def _std_case(case: Case) -> Iterator[bool]:
    sigmas = diffusers_sigmas(case["T"], _TABLE_SHIFT)
    for sampler, field in _STD_FIELDS:
        rule = step_rule(sampler, sigmas, case["index"], case["noise_level"])
        yield _close(rule.diffusion, case[field], 1e-12, _TOLERANCES["std_relative"])


def _loss_case(case: Case) -> Iterator[bool]:
    log_prob = _tensor(case["log_prob"]).requires_grad_()
    limit = case["adv_clip_max"]
    log_ratio = (log_prob - _tensor(case["log_prob_old"]))[:, None]
    ratio = form_ratio(log_ratio, _tensor(case["advantages_raw"]).clamp(-limit, limit), None, "rollout")
    surrogate = clipped(ratio, case["clip_range"])
    loss = surrogate.loss.mean()
    yield _close(ratio.ratio[:, 0].detach(), case["ratio"], _RATIO_TOLERANCE, 0)
    yield _close(loss.detach(), case["policy_loss"], _TOLERANCES["loss"], 0)
    yield from _statistics(case, objective_statistics=ratio_statistics(ratio, surrogate.stopped, _all(log_prob)))
    if case["beta"] > 0:
        loss = yield from _kl(case, loss)
    yield _close(loss.detach(), case["loss"], _TOLERANCES["loss"], 0)
    (gradient,) = torch.autograd.grad(loss, log_prob)
    yield _close(gradient, case["grad_log_prob"], 1e-9, _TOLERANCES["gradient"])


def _all(rows: Tensor) -> Tensor:
    return torch.ones(len(rows), dtype=torch.bool)


def _statistics(case: Case, *, objective_statistics: Any) -> Iterator[bool]:
    own = objective_statistics
    yield _close(own.clipped / own.count, case["clipfrac"], _TOLERANCES["loss"], 0)
    yield _close(own.clipped_above / own.count, case["clipfrac_gt_one"], _TOLERANCES["loss"], 0)
    yield _close(own.clipped_below / own.count, case["clipfrac_lt_one"], _TOLERANCES["loss"], 0)
    yield _close(0.5 * own.squared_log_ratio / own.count, case["approx_kl"], 1e-12, _TOLERANCES["gradient"])


def _kl(case: Case, loss: Tensor) -> Any:
    mean = _tensor(case["prev_sample_mean"]).requires_grad_()
    divergence = mean_kl(mean, _tensor(case["prev_sample_mean_ref"]), _tensor(case["std_dev_t"]).flatten()).mean()
    yield _close(divergence.detach(), case["kl_loss"], 0, _TOLERANCES["gradient"])
    total = loss + case["beta"] * divergence
    if (expected := case.get("grad_prev_sample_mean")) is not None:
        (gradient,) = torch.autograd.grad(total, mean, retain_graph=True)
        yield _close(gradient, expected, 1e-12, _TOLERANCES["gradient"])
    return total


_FILES: dict[str, tuple[str, Callable[[Case], Iterator[bool]]]] = {
    "sde_step": ("cases", _flow_sde_case),
    "cps_step": ("cases", _cps_case),
    "std_table": ("rows", _std_case),
    "grpo_loss": ("cases", _loss_case),
}

if __name__ == "__main__":
    main()
