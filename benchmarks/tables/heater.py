"""A camera and sensors: what the latents know of the heater's hot spot, with both, with the sensors alone and with the camera alone.

    python -m benchmarks.tables.heater [--seeds 0 1 2] [--steps 300] [--size s] [--work DIR]

Eight hours of the plant under its controllers are recorded to train on, and some of other seeds to judge. Three views of the same store are
trained alike, each with the recipe that `tacit train` would choose for it. The hot spot is a label that no model receives: a small network
learns on the training hours to read it from frozen latents, and reads it on the judged hours, from the latent of the moment and from those
predicted 1, 5 and 20 steps ahead under the logged actions; so does a linear map, which learns less by heart. Intervals are of a bootstrap
over hours. What was finished in DIR is not done again. Numbers go to docs/results/heater.json after every
run, and with them a table and a plot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import tyro
from benchmarks.tables.bars import empty, written
from numpy.typing import NDArray
from rich.console import Console

from tacit.atomic import atomic_write
from tacit.data import EpisodeStore
from tacit.evaluation.machine import cpu_model
from tacit.evaluation.probes import Latents, linear_probe, mlp_probe
from tacit.run import Run, load
from tacit.training.fit import fit
from tacit.training.latents import LatentLog, encode_log
from tacit.training.recipes import Size, for_steps
from tacit.worlds.plants import plant, record_plant

matplotlib.use("Agg")

RESULTS = Path(__file__).parents[2] / "docs" / "results"
HOURS, HOUR = 8, 720  # episodes of a recording, and their steps
LABEL, CAMERA, THERMOCOUPLES = "hot_spot", "thermal", ("thermocouple_1", "thermocouple_2")
AHEAD = (0, 1, 5, 20)  # steps
RESAMPLES = 2000
RIDGE = 1e-3
BOTH, SENSORS, IMAGE = "image and sensors", "sensors alone", "image alone"
MEAN, HOTTER = "constant mean", "hotter thermocouple"
LINEAR = ", linear probe"
COLOURS = {
    BOTH: "#1f4e79",
    SENSORS: "#97a97c",
    IMAGE: "#6b9ac4",
    BOTH + LINEAR: "#4b6f94",
    SENSORS + LINEAR: "#c3cfb3",
    IMAGE + LINEAR: "#a9c6e2",
    HOTTER: "#c9ada7",
    MEAN: "#d9d9d9",
}

Floats = NDArray[np.float64]
Numbers = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        seeds: Of training.
        judged: Seeds of the recordings of `HOURS` hours that are judged; training is on that of seed 0.
        steps: Of training.
        size: Of the models.
        work: Where logs and runs are kept.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    judged: tuple[int, ...] = (4, 5, 6)
    steps: int = 300
    size: Size = "s"
    work: Path = Path("data/heater")


def recorded(options: Options, seed: int) -> EpisodeStore:
    """Eight hours, recorded now or before."""
    return record_plant(plant("heater"), options.work / f"logs-{seed}", episodes=HOURS, steps=HOUR, seed=seed)


def seen(store: EpisodeStore, view: str) -> EpisodeStore:
    """What a model is shown: actions, and of what is measured all, all but the picture, or nothing but the picture."""
    schema = store.schema.without_labels()
    actions, measured = [s.name for s in schema.actions], [s.name for s in schema.seen]
    kept = {BOTH: measured, SENSORS: [name for name in measured if name != CAMERA], IMAGE: [CAMERA]}[view]
    return store.view((*kept, *actions))


def trained(options: Options, store: EpisodeStore, view: str, seed: int) -> tuple[Run, float | None]:
    """The run of a view and seed, trained now or before, and the seconds that it took now."""
    out = options.work / f"{view.replace(' ', '-')}-{options.size}-{options.steps}-{seed}"
    began = time.perf_counter()
    if is_new := not (out / "config.json").is_file():
        shown = seen(store, view)
        fit(shown, out, for_steps(options.size, options.steps, schema=shown.schema), seed=seed, resume=(out / "checkpoints").is_dir())
    return load(out), round(time.perf_counter() - began, 1) if is_new else None


def label_of(store: EpisodeStore) -> Floats:
    """The hot spot at every moment, episode after episode, (F,)."""
    return np.concatenate([np.asarray(episode.signals[LABEL], np.float64) for episode in store])


def encoded(run: Run, store: EpisodeStore) -> LatentLog:
    return encode_log(store, range(len(store)), run.model, device=torch.device("cpu"))


def moments(stores: list[EpisodeStore]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows, of all stores laid end to end, that are forecast from, and the hour that each is of."""
    lengths = np.concatenate([store.lengths + 1 for store in stores])
    first = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    kept = [np.arange(start, start + length - max(AHEAD)) for start, length in zip(first, lengths, strict=True)]
    return np.concatenate(kept), np.repeat(np.arange(len(kept)), [len(rows) for rows in kept])


@torch.no_grad()
def ahead(run: Run, log: LatentLog) -> NDArray[np.float32]:
    """Latents of all moments that are forecast from, and those predicted from them, (B, len(AHEAD), D)."""
    found = []
    for episode in range(len(log)):
        t = torch.arange(int(log.steps[episode]) + 1 - max(AHEAD))
        number = torch.full_like(t, episode)
        rows = (log.first[number] + t)[:, None] + torch.arange(max(AHEAD))
        history = log.history(number, t, run.model.history)
        predicted = run.model.rollout(history, log.actions[rows][:, None])[:, 0]
        found.append(torch.cat((history[:, -1:], predicted[:, [k - 1 for k in AHEAD if k]]), 1))
    return torch.cat(found).numpy()


def read(run: Run, view: str, store: EpisodeStore, stores: list[EpisodeStore], seed: int) -> dict[str, Floats]:
    """The hot spot as each probe reads it on the judged hours, (B, len(AHEAD)) each."""
    log = encoded(run, store)
    numbers = np.repeat(np.arange(len(store)), store.lengths + 1)
    fitted = Latents(latents=log.latents.numpy(), labels=label_of(store)[:, None], episodes=numbers)
    judged = np.concatenate([ahead(run, encoded(run, other)) for other in stores]).swapaxes(0, 1)
    rows, hours = moments(stores)
    truth = np.concatenate([label_of(other) for other in stores])
    scored = Latents(
        latents=judged.reshape(-1, judged.shape[-1]),
        labels=np.concatenate([truth[rows + k] for k in AHEAD])[:, None],
        episodes=np.tile(len(store) + hours, len(AHEAD)),
    )
    found = {view: mlp_probe(fitted, scored, seed=seed), view + LINEAR: linear_probe(fitted, scored, ridge=RIDGE)}
    return {name: probe.predicted.reshape(len(AHEAD), -1).T for name, probe in found.items()}


def floors(store: EpisodeStore, stores: list[EpisodeStore]) -> dict[str, Floats]:
    """What takes no model, (B, len(AHEAD)) each: the mean of the training hours, and the thermocouples' maximum now by a line of these."""

    def hotter(of: EpisodeStore) -> Floats:
        return np.concatenate([np.max([np.asarray(e.signals[name], np.float64) for name in THERMOCOUPLES], axis=0) for e in of])

    slope, offset = np.polyfit(hotter(store), label_of(store), 1)
    rows, _ = moments(stores)
    now = offset + slope * np.concatenate([hotter(other) for other in stores])[rows]
    steps = len(AHEAD)
    return {HOTTER: np.repeat(now[:, None], steps, 1), MEAN: np.full((len(rows), steps), label_of(store).mean())}


def by_hour(stores: list[EpisodeStore], predicted: Floats) -> Floats:
    """Mean square error of each hour and step ahead, (hours, len(AHEAD)), in K²; all hours are equally long."""
    rows, hours = moments(stores)
    truth = np.concatenate([label_of(other) for other in stores])
    error = np.square(predicted - np.stack([truth[rows + k] for k in AHEAD], 1))
    return np.stack([error[hours == hour].mean(0) for hour in range(hours.max() + 1)])


def estimate(values: Floats, low_high: Floats) -> Numbers:
    low, high = np.percentile(low_high, (2.5, 97.5), axis=0)
    return {"value": values.round(3).tolist(), "low": low.round(3).tolist(), "high": high.round(3).tolist()}


def scores(results: Numbers) -> Numbers:
    """Root mean square errors with 95 % intervals, all training seeds together, and how far the others are behind both,
    read by the same probe."""
    errors = {name: np.mean(list(seeds.values()), axis=0) for name, seeds in results["errors"].items()}
    hours = len(next(iter(errors.values())))
    drawn = np.random.default_rng(0).integers(hours, size=(RESAMPLES, hours))
    found: Numbers = {}
    for name, error in errors.items():
        found[name] = {"rmse": estimate(np.sqrt(error.mean(0)), np.sqrt(error[drawn].mean(1)))}
        found[name]["r2"] = (1 - error.mean(0) / np.array(results["variance"])).round(3).tolist()
        together = BOTH + LINEAR if name.endswith(LINEAR) else BOTH
        if name != together and together in errors:
            gap = np.sqrt(error[drawn].mean(1)) - np.sqrt(errors[together][drawn].mean(1))
            found[name]["behind"] = estimate(np.sqrt(error.mean(0)) - np.sqrt(errors[together].mean(0)), gap)
    return found


def table(results: Numbers) -> str:
    """Errors in K as a table of Markdown."""
    found, seeds = results["scores"], max(len(each) for each in results["errors"].values())
    hours = HOURS * len(results["judged"])
    lines = [
        "# heater",
        "",
        f"{HOURS} recorded hours to train on, {results['steps']:,} training steps at size `{results['size']}`, {seeds} training seeds; "
        f"{hours} other hours are judged. Error of the hot spot as a small network, or a linear map, reads it from the latents: root "
        f"mean square in K, all seeds together, with 95 % intervals of a bootstrap over hours; each seed in brackets. {results['cpu']}.",
        "",
        "| | " + " | ".join("now" if k == 0 else f"{k} ahead" for k in AHEAD) + " |",
        "|---" * (1 + len(AHEAD)) + "|",
    ]
    for name in COLOURS:
        if name not in found:
            continue
        rmse, cells = found[name]["rmse"], []
        for i in range(len(AHEAD)):
            each = ", ".join(f"{np.sqrt(np.mean(seed, axis=0)[i]):.1f}" for seed in results["errors"][name].values())
            single = f" [{each}]" if len(results["errors"][name]) > 1 else ""
            cells.append(f"{rmse['value'][i]:.1f} ({rmse['low'][i]:.1f}–{rmse['high'][i]:.1f}){single}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", f"How much larger the error is than that of {BOTH} with the same probe, in K, paired by hour:", ""]
    lines += ["| | " + " | ".join("now" if k == 0 else f"{k} ahead" for k in AHEAD) + " |", "|---" * (1 + len(AHEAD)) + "|"]
    for name in COLOURS:
        if "behind" in found.get(name, {}):
            gap = found[name]["behind"]
            cells = [f"{gap['value'][i]:.1f} ({gap['low'][i]:.1f} to {gap['high'][i]:.1f})" for i in range(len(AHEAD))]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "![error of the hot spot](heater.svg)", ""])


def draw(results: Numbers, path: Path) -> None:
    """The same as bars."""
    figure, axes = empty()
    width = 0.8 / len(COLOURS)
    for i, (name, colour) in enumerate(COLOURS.items()):
        if name not in results["scores"]:
            continue
        rmse = results["scores"][name]["rmse"]
        where = np.arange(len(AHEAD)) - 0.4 + (i + 0.5) * width
        axes.bar(where, rmse["value"], width * 0.92, color=colour, label=name)
        axes.vlines(where, rmse["low"], rmse["high"], color="black", linewidth=1)
    axes.set(xticks=range(len(AHEAD)), xticklabels=["now", *(f"{k} steps ahead" for k in AHEAD[1:])], ylabel="error of the hot spot, K")
    written(figure, axes, path)


def main(options: Options) -> None:
    torch.set_num_threads(1)
    path = RESULTS / "heater.json"
    setting: Mapping[str, Any] = {"steps": options.steps, "size": options.size, "judged": list(options.judged)}
    results: Numbers = json.loads(path.read_text()) if path.is_file() else {}
    if {name: results.get(name) for name in setting} != setting:
        results = {**setting, "errors": {}, "seconds": {}}
    results["cpu"] = cpu_model()
    store, stores = recorded(options, 0), [recorded(options, seed) for seed in options.judged]

    def save(readings: Mapping[str, Floats], seed: int) -> None:
        for name, predicted in readings.items():
            results["errors"].setdefault(name, {})[str(seed)] = by_hour(stores, predicted).round(3).tolist()
        results["scores"] = scores(results)
        RESULTS.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps(results) + "\n")
        atomic_write(path.with_suffix(".md"), table(results))
        draw(results, path.with_suffix(".svg"))
        for name in readings:
            Console().print(
                f"{name}, seed {seed}: {np.sqrt(np.mean(results['errors'][name][str(seed)], axis=0)).round(1)}", highlight=False
            )

    rows, _ = moments(stores)
    truth = np.concatenate([label_of(other) for other in stores])
    results["variance"] = [float(truth[rows + k].var()) for k in AHEAD]
    save(floors(store, stores), 0)
    for seed in options.seeds:
        for view in (BOTH, SENSORS, IMAGE):
            if str(seed) in results["errors"].get(view, {}):
                continue
            run, seconds = trained(options, store, view, seed)
            if seconds is not None:
                results["seconds"].setdefault(view, {})[str(seed)] = seconds
            save(read(run, view, store, stores, seed), seed)
    Console().print(table(results), markup=False)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
