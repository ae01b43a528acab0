"""Shows a layer's own arguments: Keras gives every layer a `__new__(*args, **kwargs)`, and autodoc would show that.

Without their types, as `autodoc_typehints: none` has it elsewhere: the text below says them in words.
"""

import inspect


def _of_init(app, what, name, obj, options, signature, return_annotation):
    if what != "class":
        return None
    parameters = list(inspect.signature(obj.__init__).parameters.values())[1:]
    untyped = [parameter.replace(annotation=parameter.empty) for parameter in parameters]
    return str(inspect.Signature(untyped)), return_annotation


def setup(app):
    app.connect("autodoc-process-signature", _of_init)
    return {"parallel_read_safe": True}
