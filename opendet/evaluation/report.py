"""The stage `report`: one HTML file that tells the whole build, for a person to enjoy.

The page needs nothing from anywhere: no script, no font, no address. Text from captions and models
is data: the template engine escapes it, and a content security policy forbids whatever else.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from opendet.console import printable
from opendet.evaluation import report_examples as examples
from opendet.evaluation import report_sections as sections
from opendet.evaluation.config import ReportConfig
from opendet.evaluation.report_inputs import ReportInputs
from opendet.evaluation.report_pictures import ReadImage
from opendet.evaluation.report_pool import PoolPicture, pool_picture
from opendet.files import write_durably
from opendet.pools.figures import Figure

_PAGE, _STYLE = "report.html.j2", "report.css.j2"
_POOL_PAGE, _POOL_PICTURE = "pool.html.j2", "pool.svg.j2"


def render_report(
    inputs: ReportInputs, read_image: ReadImage, config: ReportConfig, *, match_iou: float = 0.5
) -> str:
    """The page. The same inputs and images give the same text.

    `match_iou` decides which prediction is drawn as having found which object.
    """
    return _page(_PAGE, _context(inputs, read_image, config, match_iou))


def render_pool(name: str, picture: PoolPicture, figures: Sequence[Figure] = ()) -> str:
    """A page of a pool alone: its picture, and its health where figures are given."""
    return _page(_POOL_PAGE, {"name": name, "picture": picture, "figures": figures})


def render_pool_svg(name: str, picture: PoolPicture) -> str:
    """The picture alone, as a file that stands by itself."""
    return _environment().get_template(_POOL_PICTURE).render(name=printable(name), picture=picture)


def write_report(path: Path, page: str) -> None:
    write_durably(path, page.encode())


def template_digest() -> str:
    """A hash of what the page is made with beside code."""
    templates = sorted((Path(__file__).parent / "templates").iterdir())
    return hashlib.sha256(b"".join(path.read_bytes() for path in templates)).hexdigest()


def _page(template: str, context: Mapping[str, Any]) -> str:
    environment = _environment()
    style = environment.get_template(_STYLE).render()
    return environment.get_template(template).render(
        style=Markup(style),  # Ours, not the data's.
        policy=_policy(style),
        **context,
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("opendet.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": sections.count, "percent": sections.percent}
    return environment


def _context(
    inputs: ReportInputs, read_image: ReadImage, config: ReportConfig, match_iou: float
) -> Mapping[str, Any]:
    return {
        "inputs": inputs,
        "headlines": sections.headlines(inputs),
        "comparisons": examples.comparisons(inputs, read_image, config, match_iou),
        "shown_above": config.shown_above,
        "split": sections.judged_split(inputs),
        "tiers": sections.tier_shares(inputs),
        "funnel": sections.funnel(inputs),
        "regions": sections.region_shares(inputs),
        "planted": examples.planted_errors(inputs, read_image, config),
        "agreement": sections.agreement_histogram(inputs),
        "charts": sections.training_charts(inputs),
        "pool": examples.pool_entries(inputs, read_image, config),
        "pool_levels": sections.pool_levels(inputs),
        "pool_picture": pool_picture(inputs.pool, inputs.pool_vectors),
        "times": sections.time_shares(inputs),
        "total_time": sections.duration(sum(inputs.seconds.values())),
        "believers": sections.believers(inputs),
        "captions_by_grammar": sections.grammar_captioned(inputs),
        "by_grammar": sections.grammar_wrote(inputs),
        "metrics": list(sections.flat_metrics(inputs.metrics)),
    }


def _policy(style: str) -> str:
    """Nothing but this page's own style and the pictures inside it."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
