"""One picture of all figures: how far each is from its limit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from bench.figures import Goal

WIDTH, ROW, HEAD, FOOT = 1000, 26, 46, 12
LABELS, NUMBERS = 460, 210  # pixels of what stands left of the bars, and right of them
LOWEST, HIGHEST = 1 / 8, 8.0  # times better than the limit: what the bars have room for
TICKS = {
    1 / 8: "⅛",
    1 / 4: "¼",
    1 / 2: "½",
    1.0: "limit",
    2.0: "2 ×",
    4.0: "4 ×",
    8.0: "8 ×",
}
LONGEST_LABEL = 70
STYLE = """
 text { font: 12px system-ui, sans-serif; fill: #1f2328 }
 .quiet { fill: #656d76 } .tick { stroke: #d1d9e0 } .limit { stroke: #1f2328 }
 .reached { fill: #1a7f37 } .missed { fill: #cf222e }
 @media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet { fill: #9198a1 }
  .tick { stroke: #3d444d } .limit { stroke: #e6edf3 }
  .reached { fill: #3fb950 } .missed { fill: #f85149 }
 }
"""


def drawn(goals: Sequence[Goal]) -> str:
    """An SVG for light and dark pages: a bar for each goal, right of the middle when reached."""
    height = HEAD + ROW * len(goals) + FOOT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
            ' aria-label="How far each figure is from its limit">',
            f"<style>{STYLE}</style>",
            *_scale(height),
            *(line for place, goal in enumerate(goals) for line in _bar(place, goal)),
            "</svg>\n",
        ]
    )


def _scale(height: int) -> Iterator[str]:
    for times, name in TICKS.items():
        x, kind = _x(times), "limit" if times == 1 else "tick"
        yield f'<line class="{kind}" x1="{x}" x2="{x}" y1="{HEAD - 8}" y2="{height - FOOT}"/>'
        yield _text(x, HEAD - 14, name, 'text-anchor="middle" class="quiet"')


def _bar(place: int, goal: Goal) -> Iterator[str]:
    y = HEAD + ROW * place
    start, end = sorted((_x(1.0), _x(goal.times_better)))
    mark, kind = ("✓", "reached") if goal.reached else ("✗", "missed")
    label = goal.what if len(goal.what) <= LONGEST_LABEL else goal.what[: LONGEST_LABEL - 1] + "…"
    yield _text(LABELS - 8, y + 15, label, 'text-anchor="end"')
    yield (
        f'<rect class="{kind}" x="{start}" y="{y + 4}" width="{max(end - start, 2):g}"'
        f' height="{ROW - 10}" rx="2"/>'
    )
    numbers = f"{mark} {_number(goal.measured)}{goal.unit}, {goal.sentence()}"
    yield _text(WIDTH - NUMBERS + 8, y + 15, numbers, 'class="quiet"')


def _x(times: float) -> float:
    """On a logarithmic scale: twice as good is as far from the limit as half as good."""
    within = math.log(min(max(times, LOWEST), HIGHEST) / LOWEST) / math.log(HIGHEST / LOWEST)
    return round(LABELS + within * (WIDTH - LABELS - NUMBERS), 1)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _text(x: float, y: float, words: str, attributes: str) -> str:
    return f'<text x="{x:g}" y="{y}" {attributes}>{escape(words)}</text>'
