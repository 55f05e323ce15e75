"""The generated pages say what the code says."""

from __future__ import annotations

import importlib.util


def test_the_parameter_page_is_up_to_date(repository):
    spec = importlib.util.spec_from_file_location("parameter_docs", repository / "tools" / "parameter_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PATH.read_text() == module.render(), "run: make docs"
