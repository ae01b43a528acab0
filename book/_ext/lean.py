"""Pages load what they use and no more.

Jupyter Book puts in the scripts of Thebe, twice, which would run cells on another host: we
offer none. And the theme loads 1.5 MB of icons as a script, of which a page shows ten;
`_static/icons.css` draws those with the theme's own font. Figures are kept with a palette
of 128 colours, which nobody sees and which takes a quarter of the bytes. A wide one leads
to itself: on a phone its frame can be scrolled (`_static/custom.css`), and the figure alone
can be enlarged.
"""

import re
from pathlib import Path

from PIL import Image

UNUSED = re.compile(
    r"<script\b[^>]*\bsrc=\"[^\"]*(?:sphinx-thebe|fontawesome)\.js[^>]*></script>\s*"
    r"|<script>const THEBE_JS_URL\b.*?</script>\s*"
    r"|<script type=\"text/x-thebe-config\">.*?</script>\s*"
    r"|<script>kernelName = .*?</script>\s*"
    r"|<link\b[^>]*sphinx-thebe\.css[^>]*>\s*",
    re.DOTALL,
)


# An output of a cell, on a line of its own.
FIGURE = re.compile(
    r"^<img [^>]*src=\"(?P<source>[^\"]*_images/(?P<name>[^\"/]*\.png))\"[^>]*/>",
    re.MULTILINE,
)
WIDE = 600  # pixels


def make_lean(app, error):
    if error or app.builder.format != "html":
        return
    images = Path(app.outdir) / "_images"
    widths = {}
    for path in images.glob("*.png"):
        with Image.open(path) as figure:
            widths[path.name] = figure.width
            if figure.mode in ("RGB", "RGBA"):
                with_palette(figure).save(path, optimize=True)

    def framed(figure):
        if widths[figure["name"]] <= WIDE:
            return figure[0]
        return f'<a class="wide" href="{figure["source"]}">{figure[0]}</a>'

    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text()
        # A list must hold list items, and entries of a bibliography are none.
        lean = UNUSED.sub("", page).replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )
        lean = FIGURE.sub(framed, lean)
        if lean != page:
            path.write_text(lean)
    for name in ("fontawesome.js", "fontawesome.js.map"):
        (Path(app.outdir) / "_static" / "scripts" / name).unlink(missing_ok=True)


def with_palette(figure):
    """The finest palette that Pillow makes, which has no transparency, where the figure has none either."""
    opaque = figure.mode == "RGB" or figure.getextrema()[3][0] == 255
    method = Image.Quantize.MEDIANCUT if opaque else Image.Quantize.FASTOCTREE
    return (figure.convert("RGB") if opaque else figure).quantize(
        128, method, dither=Image.Dither.NONE
    )


def setup(app):
    app.connect("build-finished", make_lean)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
