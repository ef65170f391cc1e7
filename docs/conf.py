"""The documentation site: ``python -m sphinx -E -W --keep-going -c docs . build/site``.

Sources are the Markdown files where they lie in the repository, so that links between them work
in a clone as on the site. Nothing is fetched; the search works from files.
"""

import io
import os
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

os.environ['COLUMNS'] = '88'  # of the commands' help

from mmaction import registry as mmaction_registry  # noqa: E402

import pan_mm.datasets  # noqa: E402
import pan_mm.engine  # noqa: E402
import pan_mm.models  # noqa: E402, F401
from pan_mm import cli  # noqa: E402

project = 'pan_mm'
author = 'the pan_mm authors'
copyright = author
version = release = pan_mm.__version__

root_doc = 'docs/index'
include_patterns = [
    'docs/**.md',
    'configs/**.md',
    'tools/**.md',
    'projects/**.md',
    'results/README.md',
    'pan_mm/pretrained/*.md',
    'model_zoo.md',
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
]
extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
    'sphinx_design',
]

myst_enable_extensions = ['colon_fence', 'deflist']
myst_heading_anchors = 3

autodoc_typehints = 'none'  # docstrings name types and shapes
add_module_names = False  # a config names the class
toc_object_entries_show_parents = 'hide'
autodoc_default_options = {'members': True, 'member-order': 'bysource'}
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = 'furo'
html_title = f'pan_mm {version}'
html_static_path = ['_static']
html_css_files = ['pan_mm.css']
html_extra_path = ['_root']
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {
    'light_css_variables': {'color-brand-primary': '#2f5f8f', 'color-brand-content': '#2f5f8f'},
    'dark_css_variables': {'color-brand-primary': '#8fbce6', 'color-brand-content': '#8fbce6'},
}
copybutton_exclude = '.linenos, .gp, .go'


class Registered(Directive):
    """Document every part that the package adds to one of MMAction2's registries."""

    required_arguments = 1

    def run(self):
        parts = getattr(mmaction_registry, self.arguments[0]).module_dict
        own = sorted(
            f'{part.__module__}.{name}'
            for name, part in parts.items()
            if isinstance(part, type) and part.__module__.startswith('pan_mm.')
        )
        lines = [line for name in own for line in (f'.. autoclass:: {name}', '')]
        lines = ['```{eval-rst}', *lines, '```']
        section = nodes.section()
        section.document = self.state.document
        self.state.nested_parse(StringList(lines, 'registered'), self.content_offset, section)
        return section.children


class Command(Directive):
    """Show the help of a command of ``python -m pan_mm``."""

    required_arguments = 1

    def run(self):
        shown = io.StringIO()
        with redirect_stdout(shown), suppress(SystemExit):
            cli.main([self.arguments[0], '--help'])
        return [nodes.literal_block('', shown.getvalue(), language='text')]


def setup(app):
    app.add_directive('registered', Registered)
    app.add_directive('command', Command)
