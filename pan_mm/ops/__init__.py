from .persistence import persistence_of_appearance

__all__ = ['persistence_of_appearance']
