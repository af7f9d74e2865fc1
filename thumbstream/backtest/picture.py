"""A backtest as one HTML file without any reference outside: rate, band and alerts of each group over time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from processors.minutes import Group, rollup_name
from thumbstream.backtest.series import Bucket
from thumbstream.backtest.summary import Episode

_WIDTH, _LEFT, _HEIGHT, _LANE, _FOOT = 1200, 190, 120, 12, 18  # pixels
_LONGEST = 36  # characters that fit beside a lane
_COLOURS = ("#c0392b", "#8e44ad", "#2471a3", "#b9770e", "#117a65", "#5d6d7e")
_DAY = 1440


@dataclass(frozen=True, slots=True)
class Lane:
    """The alerts of one monitor on one group."""

    name: str
    episodes: Sequence[Episode]


@dataclass(frozen=True, slots=True)
class Chart:
    """One group: its votes, the monitors that watch it, and where incidents were put in (begin and end minute)."""

    group: Group
    buckets: Sequence[Bucket]
    threshold: float
    lanes: Sequence[Lane]
    incidents: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class _Scale:
    first: int
    last: int

    def x(self, minute: float) -> float:
        return _LEFT + (minute - self.first) / max(1, self.last - self.first) * (_WIDTH - _LEFT - 8)

    @staticmethod
    def y(rate: float) -> float:
        return 6 + (1 - rate) * (_HEIGHT - 12)


def page(title: str, table: Sequence[Sequence[str]], charts: Sequence[Chart], first: int, last: int, width: int) -> str:
    """The whole file. `table` begins with its head; minutes are numbers since the epoch, `width` is a bucket's."""
    body = "\n".join(_section(chart, _Scale(first, last), width) for chart in charts)
    return _PAGE.format(title=escape(title), table="\n".join(_rows(table)), body=body)


def _rows(table: Sequence[Sequence[str]]) -> Iterator[str]:
    for number, row in enumerate(table):
        cell = "td" if number else "th"
        yield f"<tr>{''.join(f'<{cell}>{escape(text)}</{cell}>' for text in row)}</tr>"


def _section(chart: Chart, scale: _Scale, width: int) -> str:
    height = _HEIGHT + _LANE * len(chart.lanes) + _FOOT
    name = f"{rollup_name(chart.group.rollup)} {' | '.join(chart.group.values)} ({chart.group.tenant_id})"
    parts = [*_incidents(chart, scale), *_grid(scale), *_bands(chart, scale, width), _line(chart, scale)]
    parts += [part for number, lane in enumerate(chart.lanes) for part in _lane(lane, number, scale)]
    parts += list(_times(scale, height))
    drawing = "\n".join(part for part in parts if part)
    return f'<h2>{escape(name)}</h2>\n<svg viewBox="0 0 {_WIDTH} {height}" role="img">\n{drawing}\n</svg>'


def _grid(scale: _Scale) -> Iterator[str]:
    for rate in (0.0, 0.5, 1.0):
        y = scale.y(rate)
        yield f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}" class="g"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" class="r">{rate:.0%}</text>'


def _incidents(chart: Chart, scale: _Scale) -> Iterator[str]:
    for begin, end in chart.incidents:
        x, wide = scale.x(begin), max(1.0, scale.x(end) - scale.x(begin))
        yield f'<rect x="{x:.1f}" y="6" width="{wide:.1f}" height="{_HEIGHT - 12}" class="i"/>'


def _bands(chart: Chart, scale: _Scale, width: int) -> Iterator[str]:
    for bucket in chart.buckets:
        low, high = bucket.band
        x, wide = scale.x(bucket.minute), max(1.2, scale.x(width) - scale.x(0) - 0.4)
        said = f"{_time(bucket.minute)}: {bucket.negative} of {bucket.votes} negative"
        tall = max(1.0, scale.y(low) - scale.y(high))
        box = f'x="{x:.1f}" y="{scale.y(high):.1f}" width="{wide:.1f}" height="{tall:.1f}"'
        yield f'<rect {box} class="b"><title>{said}</title></rect>'
        yield f'<rect x="{x:.1f}" y="{scale.y(bucket.rate) - 1:.1f}" width="{wide:.1f}" height="2" class="m"/>'


def _line(chart: Chart, scale: _Scale) -> str:
    y = scale.y(chart.threshold)
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}" class="t">'
        f"<title>threshold {chart.threshold:.0%}</title></line>"
    )


def _lane(lane: Lane, number: int, scale: _Scale) -> Iterator[str]:
    y, colour = _HEIGHT + number * _LANE, _COLOURS[number % len(_COLOURS)]
    yield f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y + 5}" y2="{y + 5}" class="g"/>'
    for one in lane.episodes:
        x, wide = scale.x(one.begin), max(2.0, scale.x(one.end) - scale.x(one.begin))
        alert = one.alert
        said = f"{lane.name}: {_time(one.begin)} to {'the end' if one.open else _time(one.end)}, "
        said += f"{alert.negative} of {alert.total} in {alert.window_minutes} min"
        box = f'x="{x:.1f}" y="{y + 1}" width="{wide:.1f}" height="8"'
        yield f'<rect {box} fill="{colour}"><title>{escape(said)}</title></rect>'
    name = f"{lane.name}: {len(lane.episodes)}"
    shown = name if len(name) <= _LONGEST else "..." + name[3 - _LONGEST :]
    yield f'<text x="{_LEFT - 6}" y="{y + 8}" class="n">{escape(shown)}</text>'


def _times(scale: _Scale, height: int) -> Iterator[str]:
    """About ten dates or times below the picture."""
    length = scale.last - scale.first
    step = max(60, length // 10)
    step = -(-step // _DAY) * _DAY if length > 3 * _DAY else step
    shown = "%Y-%m-%d" if length > 3 * _DAY else "%m-%d %H:%M"
    for minute in range(-(-scale.first // step) * step, scale.last, step):
        yield f'<text x="{scale.x(minute):.1f}" y="{height - 4}" class="d">{_moment(minute):{shown}}</text>'


def _moment(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def _time(minute: int) -> str:
    return f"{_moment(minute):%Y-%m-%d %H:%M}"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 24px; color: #1c2833; max-width: 1200px }}
h1 {{ font-size: 20px }} h2 {{ font-size: 15px; margin: 22px 0 4px }}
table {{ border-collapse: collapse }} th, td {{ padding: 2px 14px 2px 0; text-align: left }}
th {{ border-bottom: 1px solid #aeb6bf }}
svg {{ width: 100%; height: auto; background: #fbfcfc }} text {{ font-size: 10px; fill: #566573 }}
.r {{ text-anchor: end }} .d {{ text-anchor: middle }} .n {{ font-size: 9px; text-anchor: end }}
.g {{ stroke: #e5e8e8 }} .t {{ stroke: #c0392b; stroke-dasharray: 5 4 }}
.b {{ fill: #aed6f1; fill-opacity: .55 }} .m {{ fill: #1b4f72 }} .i {{ fill: #fdebd0 }}
</style></head><body>
<h1>{title}</h1>
<p>Dark: the rate of negative votes. Light: where the true rate may lie (95 %). Dashed: the threshold. Below each
picture: when a monitor's alert was open. Sand: incidents that were put in. All times are UTC.</p>
<table>
{table}
</table>
{body}
</body></html>
"""
