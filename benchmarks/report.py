"""Show benchmarks/results.json: plots beside it, and tables in the README and docs/.

python -m benchmarks.report
"""

import json
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from interpreter import MB_PER_CORE

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
# Where each table stands, between its marks.
PAGES = {
    "summary": ROOT / "README.md",
    "stacks": ROOT / "docs/performance.md",
    "sizes": ROOT / "docs/performance.md",
    "reasons": ROOT / "docs/2_why_tensorflow_lite.md",
}

# Lambda in us-east-1 on x86, https://aws.amazon.com/lambda/pricing/ (November 2026, as for years before)
DOLLARS_PER_GB_SECOND = 0.0000166667
DOLLARS_PER_MILLION_REQUESTS = 0.20
MAX_WARM_MS = 1000
LESSON_ACCURACY = 0.9032  # of the model that the lesson publishes, on the same photos

NAMES = {
    "course": "lesson's former route: tflite-runtime, float32",
    "onnx-lesson": "lesson's current route: ONNX Runtime, float32",
    "ours-3.8": "**ours on Python 3.8**",
    "ours-3.13": "**ours on Python 3.13**",
    "onnx-float32": "our model: ONNX Runtime, float32",
    "onnx-int8": "our model: ONNX Runtime, int8",
    "keras": "our model: TensorFlow, float32",
}
PARTS = {
    "cold": ("imports", "model load", "first inference"),
    "url": ("download", "decode and resize", "inference"),
}


def price(milliseconds, megabytes):
    """Return the dollars of computing for a million photos, without the request price."""
    return milliseconds / 1000 * megabytes / 1024 * DOLLARS_PER_GB_SECOND * 1e6


def kinds(results):
    """Return {key: label} of what was measured: AVX2 alone, which is all that AWS promises, where that was possible."""
    rest = "with VNNI" if "VNNI" in results["machine"]["instructions"] else "with all instructions"
    labels = {"AVX2": "on AVX2", "all": rest}
    return {kind: labels[kind] for kind in labels if kind in results["sizes"][0]}


def promised(times):
    """Return the times to promise: those on AVX2, where they were measured."""
    return times.get("AVX2", times["all"])


def cheapest(sizes):
    """Return the row of the cheapest size and Python version that answers warm within MAX_WARM_MS."""
    fast = [row for row in sizes if promised(row)["warm"]["median"] <= MAX_WARM_MS]
    return min(fast, key=lambda row: price(promised(row)["warm"]["median"], row["megabytes"]))


def markdown(header, rows):
    """Return a Markdown table whose columns after the first are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def headings(results):
    """Return the heads of the columns that `speeds` fills."""
    names = ("warm {}, ms", "cold {}, ms", "$ a million {}")
    return [name.format(label) for name in names for label in kinds(results).values()]


def speeds(times, measure, megabytes):
    """Return the cells of warm and cold milliseconds and price, each for every kind that was measured."""
    measured = [times[kind] for kind in ("AVX2", "all") if kind in times]
    warm = [one[measure]["median"] for one in measured]
    cold = [f"{one['cold']['median']:.0f}" for one in measured]
    return [*[f"{value:.0f}" for value in warm], *cold, *[f"{price(value, megabytes):.2f}" for value in warm]]


def stack_table(results):
    """Return the table that compares the stacks on one core."""
    header = ["one core", *headings(results), "peak, MB", "packages and model, MB", "accuracy"]
    rows = []
    for key, name in NAMES.items():
        stack = results["stacks"][key]
        peak, size = promised(stack)["peak MB"]["median"], stack["packages MB"] + stack["model MB"]
        numbers = [f"{peak:.0f}", f"{size:.0f}", accuracy_of(key, stack)]
        rows.append([name, *speeds(stack, "url", MB_PER_CORE), *numbers])
    return markdown(header, rows)


def accuracy_of(key, stack):
    """Return a stack's accuracy on the test photos as text, an empty one where it was not measured."""
    accuracy = LESSON_ACCURACY if key in ("course", "onnx-lesson") else stack.get("accuracy")
    return f"{accuracy:.4f}" if accuracy else ""


def summary_table(results):
    """Return the table of speed, price and accuracy, with the kinds that were measured in one cell."""
    labels = [label.split()[-1] for label in kinds(results).values()]
    header = [f"one core, {' / '.join(labels)}", "warm, ms", "cold, ms", "$ a million", "accuracy"]
    rows = []
    for key, name in NAMES.items():
        stack, count = results["stacks"][key], len(labels)
        cells = speeds(stack, "url", MB_PER_CORE)
        together = [" / ".join(cells[start : start + count]) for start in range(0, len(cells), count)]
        rows.append([name, *together, accuracy_of(key, stack)])
    return markdown(header, rows)


def size_table(results):
    """Return the table of what each size of our function costs."""
    rows = [
        [str(row["megabytes"]), row["python"], *speeds(row, "warm", row["megabytes"])]
        for python in ("3.13", "3.8")
        for row in results["sizes"]
        if row["python"] == python
    ]
    return markdown(["memory, MB", "Python", *headings(results)], rows)


def reason_table(results):
    """Return the table that says what TensorFlow Lite saves."""
    both = [results["stacks"][key] for key in ("keras", "ours-3.13")]
    rows = []
    for name, part in {
        "import": "imports",
        "open the model": "model load",
        "first inference": "first inference",
    }.items():
        rows.append([name, *[f"{promised(stack)['parts'][part]['median']:,.0f} ms" for stack in both]])
    rows.append(["packages", *[f"{stack['packages MB']:,.0f} MB" for stack in both]])
    rows.append(["model", *[f"{stack['model MB']:.0f} MB" for stack in both]])
    rows.append(["peak memory", *[f"{promised(stack)['peak MB']['median']:.0f} MB" for stack in both]])
    return markdown(["", "TensorFlow and Keras", "LiteRT, int8"], rows)


def tables(results):
    """Return {name: table} for each of PAGES."""
    return {
        "summary": summary_table(results),
        "stacks": stack_table(results),
        "sizes": size_table(results),
        "reasons": reason_table(results),
    }


def plot_stacks(results):
    """Draw where warm and cold milliseconds go in each stack, on one core; narrow bars are those with VNNI."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 5), sharey=True)
    colors = [*plt.rcParams["axes.prop_cycle"].by_key()["color"][:3], "lightgrey"]
    for axis, (measure, title) in zip(axes, {"url": "a warm request", "cold": "a cold start"}.items()):
        bars = zip(kinds(results).items(), (-0.15, 0.25), (0.5, 0.24), (1, 0.5))
        for (kind, label), offset, height, alpha in bars:
            for index, key in enumerate(NAMES):
                times = results["stacks"][key][kind]
                total = times[measure]["median"]
                widths = [times["parts"][part]["median"] for part in PARTS[measure]]
                widths.append(max(total - sum(widths), 0))
                lefts = [sum(widths[:number]) for number in range(len(widths))]
                axis.barh(index + offset, widths, height, lefts, color=colors, alpha=alpha)
                axis.text(sum(widths), index + offset, f" {total:.0f} ms {label}", va="center", fontsize="small")
        axis.set(title=f"Where the time of {title} goes", xlabel="milliseconds on one core")
        axis.set_xlim(0, axis.get_xlim()[1] * 1.35)
        parts = [plt.Rectangle((0, 0), 1, 1, color=color) for color in colors]
        place = "lower right" if measure == "url" else "center right"
        axis.legend(parts, [*PARTS[measure], "everything else"], loc=place, fontsize="small")
    axes[0].set_yticks(range(len(NAMES)), [name.replace("*", "").replace(": ", ":\n") for name in NAMES.values()])
    axes[0].invert_yaxis()
    return figure


def plot_sizes(results):
    """Draw warm milliseconds and price over the memory of the function, and mark the cheapest size."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
    choice = cheapest(results["sizes"])
    for (kind, label), style in zip(kinds(results).items(), ("-", ":")):
        for python, color in {"3.8": "C0", "3.13": "C1"}.items():
            rows = [row for row in results["sizes"] if row["python"] == python]
            megabytes = [row["megabytes"] for row in rows]
            warm = [row[kind]["warm"]["median"] for row in rows]
            dollars = [price(*pair) for pair in zip(warm, megabytes)]
            for axis, values in zip(axes, (warm, dollars)):
                axis.plot(megabytes, values, style, color=color, marker="o", label=f"Python {python}, {label}")
    x, y = choice["megabytes"], promised(choice)["warm"]["median"]
    axes[0].plot(x, y, "o", markersize=14, fillstyle="none", color="black")
    axes[1].plot(x, price(y, x), "o", markersize=14, fillstyle="none", color="black")
    text = f"cheapest under a second:\n{x} MB, {y:.0f} ms, ${price(y, x):.2f}"
    top = 1.4 * axes[1].get_ylim()[1]
    axes[1].annotate(text, (x, price(y, x)), (x, 0.88 * top), arrowprops={"arrowstyle": "-"}, va="center")
    axes[0].set(title="A warm request", xlabel="memory of the function, MB", ylabel="milliseconds", ylim=0)
    axes[1].set(
        title="A million photos", xlabel="memory of the function, MB", ylabel="dollars of computing", ylim=(0, top)
    )
    axes[0].legend()
    return figure


def main():
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "benchmarks"})
    results = json.loads((FOLDER / "results.json").read_text())
    for name, table in tables(results).items():
        before, rest = PAGES[name].read_text().split(f"<!-- {name} -->\n")
        after = rest.split(f"<!-- end of {name} -->")[1]
        PAGES[name].write_text(f"{before}<!-- {name} -->\n{table}\n<!-- end of {name} -->{after}")
    for name, plot in {"stacks": plot_stacks, "sizes": plot_sizes}.items():
        figure = plot(results)
        figure.tight_layout()
        figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
