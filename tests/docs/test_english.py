"""Documents, docstrings, messages and comments are in plain American English: short and active.

The word list holds what crept in before; it is not a style guide.
"""

import ast
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (
    '*.md',
    'docs/**/*.md',
    'docs/*.md.in',
    'configs/**/*.md',
    'results/*.md',
    'tools/**/*.md',
    '.github/**/*.yml',
)
PAGES = [path.relative_to(ROOT).as_posix() for f in FOLDERS for path in sorted(ROOT.glob(f))]
CODE = [
    path.relative_to(ROOT).as_posix()
    for folder in ('pan_mm', 'tools', 'benchmarks', 'configs', 'projects')
    for path in sorted((ROOT / folder).rglob('*.py'))
    if '.mim' not in path.parts
]
INSTEAD = {
    r'(?<![Tt]here )\b(is|are|was|were) no (?!longer|more|less)': 'is not a',
    r'(?<!leaves )(?<!leave )(?<!leaves it )(?<!leave it )(?<!let )\balone\b': 'only, by itself',
    r'\bmend(s|ed|ing)?\b': 'fix',
    r'\b(go|goes|going|gone|went) on\b': 'continue',
    r'\b(quick|soon)(er|est)\b': 'faster, earlier',
    r'\b(stand|stands|stood) (in|with|beside|before|there|here|under|at|behind)\b': 'is in',
    r'\b(lie|lies|lay) (in|beside|near|below|above|under|between)\b': 'is in',
    r'(^|[.:;|] )(?-i:Of) (?!course)': 'start with the subject',
    r'\banew\b': 'again',
    r'\bfor want of\b': 'without',
    r'\bhand(ed|s)? on\b': 'share, pass',
    r'\bby halves\b': 'partially',
    r'\bbut for\b': 'except',
    r'\bwherever\b.*\bgoes\b': 'works with',
    r'\b(brings?|brought) along\b': 'include',
    r'\bsome dozens\b': 'a few dozen',
    r'\b[Bb]esides there\b': 'there is also',
    r'\beverybody\b': 'anyone',
    r'\bnot till\b|\btill\b': 'until',
    r'\b(number|name|count)s the \w+ otherwise\b': 'differently',
    r'\b(colour|grey|neighbour|behaviour|favour|honour)': 'American spelling',
    r'\b(centre|licence|labelled|modelled|artefact|judgement)': 'American spelling',
    r'\b\w+(al|ar|an|im|gn|nt|or|ion)is(e|es|ed|ing|ation)\b(?<!precise)(?<!promise)': 'ize',
    r'\banalys(e|ed|es|ing)\b': 'analyze',
    # Not wrong, but a native editor would rarely write them.
    r'\b(is|are|was|were) of (an?|the|one|that|this|its|such|(an)?other|whole)\b': 'has',
    r'\bof (which|whom)\b': 'two sentences',
    r'\b((no|some)body|whoever)\b': 'no one, a user',
    r'\b(or|and|which) else\b': 'otherwise',
    r'\b(tells|told)\b': 'show, say',
    r'\bwhat (it|they|of|is|the|comes|came|(an)?others?|upstream)\b': 'a noun',
    r'\bth(at|ose) of\b': 'repeat the noun, or a possessive',
    r'\b(so|as) (many|much)\b(?! as possible)': 'the number of',
    r"\bat work\b|\b(takes? the place|in (its|their|PA's) place)\b": 'runs; replaces',
}


def prose(text):
    """Lines of text without code, addresses and comments."""
    text = re.sub(r'^( *)```.*?^\1```', lambda m: '\n' * m[0].count('\n'), text, flags=re.M | re.S)
    text = re.sub(r'<!--.*?-->', lambda m: '\n' * m[0].count('\n'), text, flags=re.S)
    text = re.sub(r'`[^`\n]+`|\]\([^)]*\)|<[^>\n]*>|https?://\S+', ' ', text)
    return text.splitlines()


def found(name, text, first=1):
    return [
        f'{name}:{number}: {match[0].strip()!r}: {instead}'
        for number, line in enumerate(prose(text), first)
        for pattern, instead in INSTEAD.items()
        for match in re.finditer(pattern, line, re.I)
    ]


@pytest.mark.parametrize('page', PAGES)
def test_page(page):
    words = found(page, (ROOT / page).read_text(encoding='utf-8'))
    assert not words, '\n'.join(words)


def test_docstrings_and_messages():
    words = []
    for name in CODE:
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding='utf-8'))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and ' ' in node.value:
                text = re.sub(r'^ *\w+ \([^)]*\):', ':', node.value, flags=re.M)  # arguments' names
                words += found(name, text, node.lineno)
    assert not words, '\n'.join(words)


def docstrings(name):
    tree = ast.parse((ROOT / name).read_text(encoding='utf-8'))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node):
            yield getattr(node, 'name', name), ast.get_docstring(node)


def test_docstrings_begin_with_a_verb_or_a_noun():
    puzzles = [
        f'{name}: {part}: {text.splitlines()[0]}'
        for name in CODE
        for part, text in docstrings(name)
        if re.match(r'(What|Whether|How|Where|Which)\b', text)
    ]
    assert not puzzles, '\n'.join(puzzles)


def tokens(kind):
    """(place, text) of each token of a kind in the code."""
    for name in CODE:
        with tokenize.open(ROOT / name) as file:
            for token in tokenize.generate_tokens(file.readline):
                if token.type == kind:
                    yield f'{name}:{token.start[0]}', token.string


def test_identifiers():
    """Names in code are American, and those of the field."""
    bad = re.compile(
        r'\b\w*(colour|grey|centre|normalis|summaris|labelled|doorkeeper)\w*'
        r'|\b(door|mend|written_whole|without_password|errors_end_the_program)\b',
        re.I,
    )
    words = [f'{place}: {name}' for place, name in tokens(tokenize.NAME) if bad.fullmatch(name)]
    assert not words, '\n'.join(words)


def test_comments():
    words = []
    for place, comment in tokens(tokenize.COMMENT):
        words += found(place, comment.lstrip('# '))
    assert not words, '\n'.join(words)
