import pan_mm

if __name__ == '__main__':
    if pan_mm.__file__ is None:  # Python takes a folder of this name, such as a clone, for it
        folder = next(iter(pan_mm.__path__))
        raise SystemExit(f'{folder} hides the package; change into it, or type pan_mm')

    from pan_mm.cli import main

    raise SystemExit(main())
