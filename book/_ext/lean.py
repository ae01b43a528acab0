"""Pages load what they use and no more.

Jupyter Book puts in the scripts of Thebe, twice, which would run cells on another host, and
what sets cards and tabs: we have neither. And the theme loads 1.5 MB of icons as a script,
of which a page shows ten; `_static/icons.css` draws those with the theme's own font.

Pictures are kept as WebP: without loss, or with the losses of a photograph, whichever is
smaller. A wide figure leads to itself: on a phone its
frame can be scrolled (`_static/custom.css`), and the figure alone can be enlarged.
"""

import io
import re
from pathlib import Path

from PIL import Image

UNUSED = re.compile(
    r"<script\b[^>]*\bsrc=\"[^\"]*(?:sphinx-thebe|fontawesome)\.js[^>]*></script>\s*"
    r"|<script>const THEBE_JS_URL\b.*?</script>\s*"
    r"|<script type=\"text/x-thebe-config\">.*?</script>\s*"
    r"|<script>kernelName = .*?</script>\s*"
    r"|<link\b[^>]*(?:sphinx-thebe|sphinx-design\.min)\.css[^>]*>\s*"
    r"|<script\b[^>]*design-tabs\.js[^>]*></script>\s*",
    re.DOTALL,
)
PICTURE = re.compile(r"(_images/[^\"/]*)\.png\b")
# Sphinx lets each figure that has a size lead to itself; outputs of cells have one.
FIGURE = re.compile(
    r"<a class=\"[^\"]*\bimage-reference\" href=\"(?P<source>[^\"]*)\">"
    r"(?P<figure><img [^>]*)"
    r"style=\"width: (?P<width>\d+)px;(?: height: \d+px;)?\" />\s*</a>"
)
WIDE = 600  # pixels


def make_lean(app, error):
    if error or app.builder.format != "html":
        return
    for path in (Path(app.outdir) / "_images").glob("*.png"):
        with Image.open(path) as picture:
            path.with_suffix(".webp").write_bytes(as_webp(picture))
        path.unlink()

    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text()
        # A list must hold list items, and entries of a bibliography are none.
        lean = UNUSED.sub("", page).replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )
        lean = PICTURE.sub(r"\1.webp", FIGURE.sub(framed, lean))
        if lean != page:
            path.write_text(lean)
    for name in ("fontawesome.js", "fontawesome.js.map"):
        (Path(app.outdir) / "_static" / "scripts" / name).unlink(missing_ok=True)


def framed(match):
    """The figure without a style, which would keep its height when a screen is too narrow for it."""
    source, figure, width = match.groups()
    sized = f'{figure}width="{width}" />'
    return sized if int(width) <= WIDE else f'<a class="wide" href="{source}">{sized}</a>'


def as_webp(picture):
    picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    return min(
        encoded(picture, lossless=True, quality=100),
        encoded(picture, quality=82),
        key=len,
    )


def encoded(picture, **options):
    file = io.BytesIO()
    picture.save(file, format="webp", method=6, **options)
    return file.getvalue()


def setup(app):
    app.connect("build-finished", make_lean)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
