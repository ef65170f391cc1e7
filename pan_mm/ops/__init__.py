from .persistence import persistence_of_appearance, select_backend

__all__ = ['persistence_of_appearance', 'select_backend']
