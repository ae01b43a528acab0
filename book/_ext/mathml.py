"""Formulas as MathML, made when the page is built: no script, no request to another host, read aloud as formulas."""

import html

from docutils import nodes
from latex2mathml.converter import convert

WIDE = 40  # characters of LaTeX


def _formula(node, display):
    latex = node.astext()
    formula = convert(latex, display=display)
    if ">\\" in formula:  # the converter passes on what it does not know
        raise ValueError(f"no MathML for a command in the formula {latex}")
    return formula.replace("<math ", f'<math alttext="{html.escape(latex)}" ', 1)


def visit_math(self, node):
    formula = _formula(node, "inline")
    # A browser breaks no formula: one that may be wider than a phone scrolls by itself.
    self.body.append(f'<span class="math">{formula}</span>' if len(node.astext()) > WIDE else formula)
    raise nodes.SkipNode


def visit_displaymath(self, node):
    self.body.append(f'<div class="math">{_formula(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
