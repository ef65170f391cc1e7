from pan_mm.cli import main

if __name__ == '__main__':
    raise SystemExit(main())
