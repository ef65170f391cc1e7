"""Options that several commands have."""

from argparse import ArgumentParser, Namespace

from mmengine.config import DictAction

from pan_mm.inference.optimization import EXTRAS
from pan_mm.inference.recognizer import load_config
from pan_mm.inference.zoo import choose
from pan_mm.utils.errors import PANError


def add_model(parser: ArgumentParser, weights: str = 'file or URL') -> None:
    """``--model``, ``--config``, ``--checkpoint`` and ``--label-map``."""
    parser.add_argument(
        '--model',
        metavar='NAME',
        help='name of a model in the model zoo, or hf://OWNER/NAME; by default, without --config, '
        'the trained model that comes with pan_mm',
    )
    parser.add_argument('--config', help='config of a recognizer, instead of --model')
    parser.add_argument('--checkpoint', help=f'its weights, {weights}')
    parser.add_argument('--label-map', metavar='FILE', help='class names, one per line')


def chosen_model(args: Namespace) -> tuple:
    """Load the config, with ``--cfg-options``, and name the checkpoint of the command line.

    Raises:
        PANError: If the model does not exist, both a model and a config are named, or the weights
            are missing.
    """
    if args.model and args.config:
        raise PANError('--model and --config name two models; give one of them')
    config, checkpoint = choose(args.model or args.config, args.checkpoint)
    config = load_config(config, getattr(args, 'cfg_options', None))
    if checkpoint is None:
        raise PANError(
            f'no weights of {args.model or args.config} come with pan_mm; give --checkpoint'
        )
    return config, str(checkpoint)


def add_running(parser: ArgumentParser) -> None:
    """``--device``, ``--optimize``, and ``--cfg-options`` as MMAction2's tools have it."""
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; by default the accelerator')
    parser.add_argument(
        '--optimize',
        nargs='*',
        choices=EXTRAS,
        help='run faster with the same scores; "half" adds half precision (scores differ by up to '
        '0.02), "compile" adds torch.compile (takes minutes to start)',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, help='KEY=VALUE in the config'
    )


def add_reject(parser: ArgumentParser) -> None:
    """``--no-reject``."""
    parser.add_argument(
        '--no-reject',
        dest='reject',
        action='store_false',
        help='do not say where the model is unsure',
    )


def inferencer_settings(args: Namespace) -> dict:
    """Arguments of a ``PANInferencer``, as far as the command has options for them."""
    config, checkpoint = chosen_model(args)
    names = ('device', 'batch_size', 'label_map', 'topk', 'optimize', 'reject')
    given = {name: value for name, value in vars(args).items() if name in names}
    return dict(given, config=config, checkpoint=checkpoint)
