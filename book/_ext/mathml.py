"""Formulas as MathML, made when the page is built: no script, no request to another host, read aloud as formulas."""

import html
import re

from docutils import nodes
from latex2mathml.converter import convert

WIDE = 40  # characters of LaTeX
# A prime, made smaller as an exponent is, can hardly be seen where a machine has no font for formulas.
PRIMED = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>&#x02032;</mi></msup>")
# A bar is taken for an operator, with a gap on each side, and not for an edge of an absolute value.
BAR = re.compile(r"<mo[^>]*>&#x0007C;</mo>")


def _formula(node, display):
    latex = node.astext()
    formula = convert(latex, display=display)
    if ">\\" in formula:  # the converter passes on what it does not know
        raise ValueError(f"no MathML for a command in the formula {latex}")
    formula = PRIMED.sub(
        r'<mrow>\1<mo lspace="0" rspace="0">&#x02032;</mo></mrow>', formula
    )
    formula = BAR.sub('<mo stretchy="false" lspace="0" rspace="0">&#x0007C;</mo>', formula)
    return formula.replace("<math ", f'<math alttext="{html.escape(latex)}" ', 1)


def visit_math(self, node):
    formula = _formula(node, "inline")
    # A browser breaks no formula: one that may be wider than a phone scrolls by itself.
    if len(node.astext()) > WIDE:
        formula = f'<span class="math">{formula}</span>'
    # Nor shall a line begin with the comma after one.
    elif "after" in node:
        formula = f'<span class="with-comma">{formula}{node["after"]}</span>'
    self.body.append(formula)
    raise nodes.SkipNode


def take_commas(app, doctree, docname):
    """Gives each short formula the punctuation that follows it."""
    if app.builder.format != "html":
        return
    for formula in list(doctree.findall(nodes.math)):
        place = formula.parent.index(formula) + 1
        following = formula.parent[place] if place < len(formula.parent) else None
        if not isinstance(following, nodes.Text) or len(formula.astext()) > WIDE:
            continue
        if mark := re.match(r"[,.;:!?)]+", following):
            formula["after"] = mark[0]
            formula.parent[place] = nodes.Text(following[mark.end() :])


def visit_displaymath(self, node):
    self.body.append(f'<div class="math">{_formula(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    app.connect("doctree-resolved", take_commas)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
