"""Every segmenter's size and its time for an image, beside transformers' CLIPSeg in the same run.

    python experiments/benchmarks/models.py

Writes docs/results/models-speed.md. Weights are untrained, as time does not depend on them. Needs transformers, which
comes with `pip install -e .[dev]`.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from setting import describe_setting
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from vesalius.console import progress_bar
from vesalius.files import write_text
from vesalius.models import build_model, list_models
from vesalius.models.start import count_parameters
from vesalius.models.tokenizers import ClipTokenizer

OUT = Path(__file__).parents[2] / "docs" / "results" / "models-speed.md"
IMAGES, RUNS = 4, 5
PROMPT = "one small white polyp"
WITHOUT_FILES = {"biomedclipseg", "biomedclipseg_a", "biomedclipseg_d"}
"""Models whose tokenizer reads a file that may not be here; BERT's pieces are as long."""


def seconds_an_image(forward: Callable[[], object]) -> float:
    """Median over runs, after one to warm up."""
    times = []
    with torch.inference_mode():
        for _ in range(RUNS + 1):
            start = time.perf_counter()
            forward()
            times.append((time.perf_counter() - start) / IMAGES)
    return statistics.median(times[1:])


def theirs() -> float:
    """The CLIPSeg of transformers at 352 px."""
    torch.manual_seed(0)
    config = CLIPSegConfig(
        vision_config={"patch_size": 16, "image_size": 352},
        use_complex_transposed_convolution=True,
        extract_layers=[3, 6, 9],
    )
    model = CLIPSegForImageSegmentation(config).eval()
    tokens, pixels = ClipTokenizer()([PROMPT] * IMAGES), torch.rand(IMAGES, 3, 352, 352)
    return seconds_an_image(lambda: model(tokens.input_ids, pixels, tokens.attention_mask))


def ours(name: str) -> tuple[int, float]:
    """Working size, and seconds for an image that has it already."""
    bert = {"vocabulary": "bert"}
    options = bert if name in WITHOUT_FILES else {"a": bert} if name == "ensemble_c" else {}
    torch.manual_seed(0)
    model = build_model(name, **options).eval()
    size = model.spec.image_size
    images = torch.rand(IMAGES, 3, size, size)
    return size, seconds_an_image(lambda: model(images, [PROMPT] * IMAGES))


def main() -> None:
    """Measure, print, write."""
    with progress_bar() as bar:
        task = bar.add_task("models", total=len(list_models()) + 1)
        reference = theirs()
        bar.advance(task)
        rows = [f"| transformers' CLIPSeg | – | – | 352 | {1000 * reference:.0f} | 1.00 |"]
        for name in list_models():
            (size, seconds), count = ours(name), count_parameters(name)
            parameters = f"{count.total / 1e6:.1f} M | {count.decoder / 1e6:.1f} M"
            rows.append(f"| `{name}` | {parameters} | {size} | {1000 * seconds:.0f} | {reference / seconds:.2f} |")
            bar.advance(task)
    lines = [
        "# Models: size and speed",
        "",
        f"Written by `python experiments/benchmarks/models.py`: {describe_setting()}. A whole forward pass, text",
        f"included, of {IMAGES} images at the model's working size, float32, {torch.get_num_threads()} threads;",
        f"median of {RUNS} runs.",
        "Trainable: with both encoders frozen, as in the papers' recipe.",
        "",
        "| model | parameters | trainable | pixels a side | ms an image | times as fast as transformers' CLIPSeg |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    write_text(OUT, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
