"""The pages' HTML, style and scripts: ours alone, with the data's texts escaped into them.

A page may run the scripts beside it and nothing else: none within it, none from elsewhere, no
handler in an attribute, nothing built from text. So says its content security policy, which holds
on `file:` and from our server alike. Chromium also refuses to turn any text into HTML there.
"""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from opendet.evaluation.report_sections import count, percent

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; require-trusted-types-for 'script'; trusted-types open-det"
)
_SCRIPTS = ("store", "filters", "tiles", "masks", "panel", "gallery", "compare", "pool")
_STYLE = "pages.css"


def page(template: str, context: Mapping[str, Any]) -> bytes:
    """One page. `context` must say which other pages there are."""
    text = _environment().get_template(template).render(policy=POLICY, **context)
    return text.encode()


def assets() -> Iterator[tuple[str, bytes]]:
    """Path and bytes of what every page needs: the report's style with ours, icon, scripts."""
    folder = files("opendet.pages") / "assets"
    ours = (folder / _STYLE).read_text("utf-8")
    style = _environment().get_template("report.css.j2").render()
    yield f"assets/{_STYLE}", f"{style}\n{ours}".encode()
    yield "assets/icon.svg", _environment().get_template("icon.svg.j2").render().encode()
    for name in _SCRIPTS:
        yield f"assets/{name}.js", (folder / f"{name}.js").read_bytes()


def _environment() -> Environment:
    environment = Environment(
        # the report's style and macros are these pages' own
        loader=ChoiceLoader([PackageLoader("opendet.pages"), PackageLoader("opendet.evaluation")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": count, "percent": percent}
    return environment
