__version__ = '0.2.0'
# The address of the public repository is not known yet: this word stands for it here, in README.md
# and in CITATION.cff, and a test holds them together.
ADDRESS = 'ADDRESS'
