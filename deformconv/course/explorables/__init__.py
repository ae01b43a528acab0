"""Figures that react without a kernel, in the page, in Jupyter and in Colab: `explorables.show("four_pixels")`.

Each is one HTML file in this folder: what is to be seen, and the script that makes it move. `common.js` and
`common.css` are what all of them share. What the script draws at first lies in `drawn/` (made by
`tools/explorables.py`), and remains where scripts are off. No other file is needed, and no other host asked.
"""

from pathlib import Path

from IPython.display import HTML

FOLDER = Path(__file__).parent
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.html")))
# Found by its name, not by its place: Jupyter runs a script apart from what it stands beside.
TEMPLATE = """\
<figure class="explorable" data-explorable="{name}">
<style>
{style}</style>
{markup}</figure>
<script>
(function () {{
{helpers}
const data = {data};
for (const root of document.querySelectorAll('[data-explorable="{name}"]:not([data-live])')) {{
root.dataset.live = true;
root.querySelectorAll("svg").forEach((svg) => svg.replaceChildren());
{script}}}
}})();
</script>"""


def show(name) -> HTML:
    """The figure, as the last line of a cell.

    Args:
        name: one of `explorables.NAMES`.

    Raises:
        ValueError: if there is no such figure.
    """
    return HTML(html(name))


def html(name) -> str:
    """The figure as HTML that can stand in any page."""
    if name not in NAMES:
        raise ValueError(f"`name` must be one of {', '.join(NAMES)}; received {name!r}.")
    markup, script = source(name)
    drawn, data = FOLDER / "drawn" / f"{name}.html", FOLDER / f"{name}.json"
    return TEMPLATE.format(
        name=name,
        style=(FOLDER / "common.css").read_text(),
        markup=drawn.read_text() if drawn.exists() else markup,
        helpers=(FOLDER / "common.js").read_text(),
        data=data.read_text() if data.exists() else "null",
        script=script,
    )


def source(name) -> tuple[str, str]:
    """The markup and the script of a figure, as they are written."""
    markup, script = (FOLDER / f"{name}.html").read_text().split("<script>")
    return markup, script.split("</script>")[0]
