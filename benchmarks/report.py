"""Show benchmarks/results.json: plots beside it, and tables in the README.

python -m benchmarks.report
"""

import json
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from interpreter import MB_PER_CORE

FOLDER = Path(__file__).parent
README = FOLDER.parent / "README.md"

# Lambda in us-east-1 on x86, https://aws.amazon.com/lambda/pricing/ (November 2026, as for years before)
DOLLARS_PER_GB_SECOND = 0.0000166667
DOLLARS_PER_MILLION_REQUESTS = 0.20
MAX_WARM_MS = 1000

NAMES = {
    "course": "the course's: Python 3.8, tflite-runtime, float32",
    "ours-3.8": "**ours on Python 3.8**",
    "ours-3.13": "**ours on Python 3.13**",
    "onnx-float32": "ONNX Runtime, float32",
    "onnx-int8": "ONNX Runtime, its own int8",
    "keras": "TensorFlow and Keras, float32",
}
PARTS = {
    "cold": ("imports", "model load", "first inference"),
    "url": ("download", "decode and resize", "inference"),
}


def price(milliseconds, megabytes):
    """Return the dollars of computing for a million photos, without the request price."""
    return milliseconds / 1000 * megabytes / 1024 * DOLLARS_PER_GB_SECOND * 1e6


def as_served(sizes):
    """Return the rows with as many threads as interpreter.py takes at that size: one for each whole core."""
    return [row for row in sizes if row["threads"] == max(1, row["megabytes"] // MB_PER_CORE)]


def cheapest(sizes):
    """Return the row of the cheapest size and Python version that answers warm within MAX_WARM_MS."""
    fast = [row for row in as_served(sizes) if row["warm"]["median"] <= MAX_WARM_MS]
    return min(fast, key=lambda row: price(row["warm"]["median"], row["megabytes"]))


def markdown(header, rows):
    """Return a Markdown table whose columns after the first are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def stack_table(results):
    """Return the table that compares the stacks on one core."""
    header = ["one core", "warm, ms", "cold, ms", "peak, MB", "packages, MB", "model, MB", "on `test/`", "$ a million"]
    rows = []
    for key, name in NAMES.items():
        stack = results["stacks"][key]
        times = stack["cores: 1"]
        warm, cold, peak = (times[measure]["median"] for measure in ("url", "cold", "peak MB"))
        numbers = [f"{value:.0f}" for value in (warm, cold, peak, stack["packages MB"], stack["model MB"])]
        accuracy = f"{stack['accuracy']:.4f}" if "accuracy" in stack else ""
        rows.append([name, *numbers, accuracy, f"{price(warm, MB_PER_CORE):.2f}"])
    return markdown(header, rows)


def size_table(results):
    """Return the table of what each size of our function costs."""
    header = ["memory, MB", "Python", "threads", "warm, ms", "cold, ms", "$ a million"]
    rows = []
    for python in ("3.13", "3.8"):
        for row in (row for row in as_served(results["sizes"]) if row["python"] == python):
            warm, cold = row["warm"]["median"], row["cold"]["median"]
            numbers = [f"{warm:.0f}", f"{cold:.0f}", f"{price(warm, row['megabytes']):.2f}"]
            rows.append([str(row["megabytes"]), python, str(row["threads"]), *numbers])
    return markdown(header, rows)


def reason_table(results):
    """Return the table that says what TensorFlow Lite saves."""
    both = [results["stacks"][key] for key in ("keras", "ours-3.13")]
    rows = []
    for name, part in {
        "import": "imports",
        "open the model": "model load",
        "first inference": "first inference",
    }.items():
        rows.append([name, *[f"{stack['cores: 1']['parts'][part]['median']:,.0f} ms" for stack in both]])
    rows.append(["packages", *[f"{stack['packages MB']:,.0f} MB" for stack in both]])
    rows.append(["model", *[f"{stack['model MB']:.0f} MB" for stack in both]])
    rows.append(["peak memory", *[f"{stack['cores: 1']['peak MB']['median']:.0f} MB" for stack in both]])
    return markdown(["", "TensorFlow and Keras", "LiteRT, int8"], rows)


def tables(results):
    """Return what stands in the README between the marks of each name."""
    return {"stacks": stack_table(results), "reasons": reason_table(results), "sizes": size_table(results)}


def plot_stacks(results):
    """Draw where warm and cold milliseconds go in each stack, on one core."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 3.6), sharey=True)
    labels = [name.replace("*", "") for name in NAMES.values()]
    for axis, (measure, title) in zip(axes, {"url": "a warm request", "cold": "a cold start"}.items()):
        left = [0.0] * len(NAMES)
        for part in (*PARTS[measure], "everything else"):
            widths = []
            for key, start in zip(NAMES, left):
                times = results["stacks"][key]["cores: 1"]
                total = times[measure]["median"]
                widths.append(times["parts"][part]["median"] if part in PARTS[measure] else max(total - start, 0))
            axis.barh(labels, widths, left=left, label=part, color="lightgrey" if part == "everything else" else None)
            left = [start + width for start, width in zip(left, widths)]
        for index, key in enumerate(NAMES):
            total = results["stacks"][key]["cores: 1"][measure]["median"]
            axis.text(left[index], index, f" {total:.0f} ms", va="center")
        axis.set(title=f"Where the time of {title} goes", xlabel="milliseconds on one core", xlim=(0, max(left) * 1.2))
        axis.legend(loc="lower right" if measure == "url" else "center right", fontsize="small")
    axes[0].invert_yaxis()
    return figure


def plot_sizes(results):
    """Draw warm milliseconds and price over the memory of the function, and mark the cheapest size."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
    choice = cheapest(results["sizes"])
    for python in ("3.8", "3.13"):
        rows = [row for row in as_served(results["sizes"]) if row["python"] == python]
        megabytes = [row["megabytes"] for row in rows]
        warm = [row["warm"]["median"] for row in rows]
        axes[0].plot(megabytes, warm, marker="o", label=f"Python {python}")
        axes[1].plot(megabytes, [price(*pair) for pair in zip(warm, megabytes)], marker="o", label=f"Python {python}")
    x, y = choice["megabytes"], choice["warm"]["median"]
    axes[0].plot(x, y, "o", markersize=14, fillstyle="none", color="black")
    axes[1].plot(x, price(y, x), "o", markersize=14, fillstyle="none", color="black")
    text = f"cheapest under a second:\n{x} MB, {y:.0f} ms, ${price(y, x):.2f}"
    axes[1].annotate(text, (x, price(y, x)), (x + 200, price(y, x) / 2), va="center")
    axes[0].set(title="A warm request", xlabel="memory of the function, MB", ylabel="milliseconds", ylim=0)
    axes[1].set(title="A million photos", xlabel="memory of the function, MB", ylabel="dollars of computing", ylim=0)
    axes[0].legend()
    return figure


def main():
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "benchmarks"})
    results = json.loads((FOLDER / "results.json").read_text())
    text = README.read_text()
    for name, table in tables(results).items():
        before, rest = text.split(f"<!-- {name} -->\n")
        after = rest.split(f"<!-- end of {name} -->")[1]
        text = f"{before}<!-- {name} -->\n{table}\n<!-- end of {name} -->{after}"
    README.write_text(text)
    for name, plot in {"stacks": plot_stacks, "sizes": plot_sizes}.items():
        figure = plot(results)
        figure.tight_layout()
        figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
