"""Writes what the control plane's arithmetic must reproduce: allocation maps, advantages and schedules.

An independent float64 reference in numpy, written from docs/method.md and not from the product's code: smoothing is a
product of dense matrices, percentiles and entropy are numpy's, the projection works on whole arrays.

Run: python golden/make_method.py [--check]; --check compares with the files that are there and writes nothing.
"""

import json
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
DEFAULTS = {
    "strength": 0.5,
    "floor": 0.3,
    "cap": 4,
    "smoothing": 1,
    "entropyGate": 0.25,
}


def smoothing_matrix(size: int, sigma: float) -> np.ndarray:
    """Gaussian weights of every position, cut at 3 sigma, rows sum to 1 over the positions that exist."""
    if sigma == 0:
        return np.eye(size)
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    weights = np.exp(-(distance**2) / (2 * sigma**2)) * (distance <= np.ceil(3 * sigma))
    return weights / weights.sum(axis=1, keepdims=True)


def concept_map(plane: np.ndarray, sigma: float) -> tuple[str | None, np.ndarray]:
    """One concept's map of mean 1, or why there is none."""
    if not np.isfinite(plane).all():
        return "not_finite", plane
    smooth = smoothing_matrix(plane.shape[0], sigma) @ plane @ smoothing_matrix(plane.shape[1], sigma).T
    low, high = np.percentile(smooth, [5, 99])
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return "flat", plane
    scaled = (np.clip(smooth, low, high) - low) / (high - low)
    if scaled.mean() < 1e-4:
        return "no_mass", plane
    return None, scaled / scaled.mean()


def union(planes: np.ndarray, weights: list[float], sigma: float) -> tuple[str | None, np.ndarray]:
    """Mass-balanced mean of the concepts; a flat one counts as 1 everywhere."""
    uniform = np.ones(planes.shape[1:])
    if not weights:
        return "empty_core", uniform
    if sum(weights) == 0:
        return "unmapped", uniform
    if len(weights) > 6:
        return "too_many_concepts", uniform
    maps = [(weight, *concept_map(plane, sigma)) for weight, plane in zip(weights, planes, strict=True) if weight > 0]
    reasons = [reason for _, reason, _ in maps if reason is not None]
    if "not_finite" in reasons or len(reasons) == len(maps):
        return ("not_finite" if "not_finite" in reasons else reasons[-1]), uniform
    total = sum(weight for weight, _, _ in maps)
    return None, sum(weight / total * (uniform if reason else each) for weight, reason, each in maps)


def project(raw: np.ndarray, floor: float, cap: float) -> np.ndarray:
    """Clamp and rescale to mean 1 until the clamp leaves the mean within 1e-6."""
    weights = np.clip(raw, floor, cap)
    while abs(weights.mean() - 1) >= 1e-6:
        weights = np.clip(weights / weights.mean(), floor, cap)
    return weights / weights.mean()


def allocation(planes: np.ndarray, weights: list[float], settings: dict) -> tuple[str | None, float, np.ndarray]:
    """Fallback reason, gate and allocation map of one step."""
    reason, m = union(planes, weights, settings["smoothing"])
    if reason is not None:
        return reason, 0.0, np.ones_like(m)
    share = m[m > 0] / m.sum()
    concentration = 1 + (share * np.log(share)).sum() / np.log(m.size)
    gate = settings["entropyGate"]
    kappa = float(np.clip(concentration / gate, 0, 1)) if gate > 0 else 1.0
    if kappa < 0.05:
        return "gate_closed", kappa, np.ones_like(m)
    raw = 1 + settings["strength"] * kappa * (m - 1)
    return None, kappa, project(raw, settings["floor"], settings["cap"])


def array(values: np.ndarray, dtype: str) -> dict:
    """An array as golden files write it."""
    return {"dtype": dtype, "shape": list(values.shape), "data": values.tolist()}


def blob(rows: int, columns: int, row: float, column: float, width: float) -> np.ndarray:
    """A Gaussian spot on a little background."""
    r, c = np.mgrid[:rows, :columns]
    return 0.1 + np.exp(-((r - row) ** 2 + (c - column) ** 2) / (2 * width**2))


def allocation_inputs() -> list[tuple[str, np.ndarray, list[float], dict]]:
    """Name, planes, concept weights and changed settings of every case."""
    rng = np.random.default_rng(20260)
    spot, other = blob(8, 8, 2, 2, 1), blob(8, 8, 5, 6, 1.5)
    noise = rng.gamma(2.0, size=(3, 8, 8))
    spike = np.zeros((8, 8))
    spike[3, 4] = 64.0
    return [
        ("one blob", spot[None], [1], {}),
        ("two blobs", np.stack([spot, other]), [1, 1], {}),
        ("text and carrier", np.stack([spot, other]), [1, 0.5], {}),
        ("an unmapped concept", np.stack([spot, other]), [0, 1], {}),
        ("a flat concept beside a blob", np.stack([spot, np.ones((8, 8))]), [1, 1], {}),
        ("noise", noise, [1.5, 1, 1], {}),
        (
            "noise without gate, full strength",
            noise,
            [1, 1, 1],
            {"strength": 1, "entropyGate": 0},
        ),
        (
            "full strength, no smoothing",
            np.stack([spot, other]),
            [1, 1],
            {"strength": 1, "smoothing": 0},
        ),
        ("narrow band", spot[None], [1], {"strength": 1, "floor": 0.5, "cap": 1.5}),
        (
            "wide smoothing",
            spot[None],
            [1],
            {"smoothing": 1.5, "strength": 0.25, "floor": 0.5, "cap": 2},
        ),
        ("oblong grid", blob(4, 12, 1, 9, 1.2)[None], [1], {}),
        (
            "large grid",
            np.stack([blob(32, 32, 9, 20, 3), blob(32, 32, 25, 6, 5)]),
            [1, 1],
            {},
        ),
        ("single spike", spike[None], [1], {}),
        ("single spike, no smoothing", spike[None], [1], {"smoothing": 0}),
        ("strength 0", spot[None], [1], {"strength": 0}),
        ("flat", np.ones((1, 8, 8)), [1], {}),
        ("all unmapped", spot[None], [0], {}),
        ("no concepts", np.zeros((0, 8, 8)), [], {}),
        ("seven concepts", np.stack([spot] * 7), [1] * 7, {}),
        (
            "a closed gate",
            np.tile(np.arange(1.0, 9.0) ** 0.01, (8, 1))[None],
            [1],
            {"entropyGate": 1},
        ),
    ]


def allocation_cases() -> list[dict]:
    """Allocation maps."""
    cases = []
    for name, planes, weights, changes in allocation_inputs():
        settings = {**DEFAULTS, **changes}
        attention = planes.astype(np.float32).astype(np.float64)
        reason, kappa, weights_map = allocation(attention, weights, settings)
        cases.append(
            {
                "name": name,
                "settings": settings,
                "weights": weights,
                "attention": array(attention, "float32"),
                "fallback": reason,
                "kappa": kappa,
                "map": array(weights_map, "float64"),
            }
        )
    return cases


def advantage_cases() -> list[dict]:
    """Group-relative advantages with the standard deviation of the group and of the iteration."""
    rng = np.random.default_rng(7)
    inputs = {
        "graded rewards": (["a", "b", "c"] * 4, np.round(rng.random(12) * 4) / 4),
        "one group is constant": (
            ["a"] * 4 + ["b"] * 4,
            np.array([0.5] * 4 + [0, 1, 1, 0.25]),
        ),
        "negative rewards": (["a"] * 5, np.array([-14.0, 0.5, 1, 1, -0.25])),
    }
    cases = []
    for global_std in (False, True):
        for name, (prompts, rewards) in inputs.items():
            names = np.array(prompts)
            advantages = np.zeros(len(rewards))
            for prompt in set(prompts):
                group = rewards[names == prompt]
                deviation = rewards.std() if global_std else group.std()
                advantages[names == prompt] = (group - group.mean()) / (deviation + 1e-4)
            cases.append(
                {
                    "name": name,
                    "global_std": global_std,
                    "prompts": prompts,
                    "rewards": array(rewards, "float64"),
                    "advantages": array(advantages, "float64"),
                }
            )
    return cases


def standardized(rows: np.ndarray, prompts: np.ndarray, weights: np.ndarray, global_std: bool) -> np.ndarray:
    """Equations 4 to 6 of arXiv 2601.05242 with weights; NaN in a whole row: no reward; elsewhere: abstained."""
    valid = ~np.isnan(rows).all(axis=1)
    total = np.where(valid, 0.0, np.nan)
    for component, weight in zip(rows.T, weights, strict=True):
        for prompt in set(prompts):
            member = (prompts == prompt) & ~np.isnan(component)
            if member.sum() > 1:
                values = component[member]
                deviation = np.nanstd(component) if global_std else values.std()
                total[member] += weight * (values - values.mean()) / (deviation + 1e-4)
    alone = [valid[prompts == prompt].sum() < 2 for prompt in prompts]
    total[alone] = np.nan
    return (total - np.nanmean(total)) / (np.nanstd(total) + 1e-4)


def standardized_advantage_cases() -> list[dict]:
    """Advantages of several components, standardised one by one. NaN is written as null."""
    rng = np.random.default_rng(11)
    nan = np.nan
    inputs = {
        "wide and narrow component": (["a"] * 6 + ["b"] * 6, [1, 1], rng.random((12, 2)) * [26, 1]),
        "same sum in different ways": (["a"] * 4, [1, 1], np.array([[0, 2.0], [1, 1], [2, 0], [0, 1]])),
        "weights and a monitor": (["a", "b"] * 5, [0.25, -2, 0], rng.random((10, 3))),
        "one component is constant": (["a"] * 4, [1, 3], np.array([[0.1, 0], [0.1, 1], [0.1, 1], [0.1, 0.25]])),
        "missing rewards, one group alone": (
            ["a"] * 4 + ["b"] * 3,
            [1, 0.5],
            np.array([[1, 0.2], [nan, nan], [0, 0.9], [0.5, 0.1], [nan, nan], [nan, nan], [1, 0.3]]),
        ),
        "a component abstains for a prompt": (
            ["a"] * 3 + ["b"] * 3,
            [1, 1],
            np.array([[0, nan], [1, nan], [0.5, nan], [0, 3.0], [1, 9], [1, 5]]),
        ),
    }
    return [
        {
            "name": name,
            "global_std": global_std,
            "prompts": prompts,
            "weights": weights,
            "components": nulls(rows),
            "advantages": nulls(standardized(rows, np.array(prompts), np.array(weights), global_std)),
        }
        for global_std in (False, True)
        for name, (prompts, weights, rows) in inputs.items()
    ]


def nulls(values: np.ndarray) -> list:
    """A list with null for NaN."""
    return np.where(np.isnan(values), None, values).tolist()


def schedule_cases() -> list[dict]:
    """Noise levels; the two published lists of diffusers are typed in the product's tests."""
    cases = []
    for kind, steps, shift in [
        ("linear", 8, 3.0),
        ("linear", 1, 3.0),
        ("diffusers", 10, 3.0),
        ("diffusers", 40, 1.5),
    ]:
        warp = lambda u, s=shift: s * u / (1 + (s - 1) * u)  # noqa: E731
        lowest = 1 / steps if kind == "linear" else warp(0.001)
        sigmas = [*warp(np.linspace(1, lowest, steps)).tolist(), 0.0]
        cases.append({"kind": kind, "steps": steps, "shift": shift, "sigmas": sigmas})
    return cases


def rounded(value: object) -> object:
    """Numbers with 12 digits, so that the files do not depend on the order of a library's sums."""
    if isinstance(value, float):
        return float(f"{value:.12g}") + 0.0
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def main() -> int:
    """Write the files, or with --check compare them."""
    makers = {
        "allocation_map": allocation_cases,
        "advantages": advantage_cases,
        "standardized_advantages": standardized_advantage_cases,
        "schedules": schedule_cases,
    }
    stale = []
    for name, make in makers.items():
        path = FOLDER / f"{name}.json"
        content = {
            "description": f"written by {Path(__file__).name}",
            "cases": rounded(make()),
        }
        text = json.dumps(content) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text, encoding="ascii")
        elif not path.exists() or path.read_text(encoding="ascii") != text:
            stale.append(path.name)
    if stale:
        print(f"stale: {', '.join(stale)}; run python {Path(__file__).name}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
