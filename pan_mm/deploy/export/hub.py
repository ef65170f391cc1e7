"""A trained recognizer as a repository of the Hugging Face Hub."""

import json
import tempfile
from pathlib import Path
from typing import Optional, Union

from mmengine.config import Config

from pan_mm.inference.hub import CONFIG, PREFIX, WEIGHTS, plain_config
from pan_mm.inference.recognizer import load_config
from pan_mm.utils.files import write_text
from pan_mm.utils.safetensors import read_texts

from .weights import export_weights

CARD = """---
library_name: pan_mm
pipeline_tag: video-classification
tags: [pan, action-recognition, mmaction2]
---

# {name}

A recognizer of {number} classes: {classes}. Made from the config `{config}` with
[MMAction2](https://github.com/open-mmlab/mmaction2) and pan_mm, a plugin for
[PAN](https://arxiv.org/abs/2008.03462).

```python
from pan_mm.apis import PANInferencer

print(PANInferencer('{address}')('video.mp4'))
```

`{weights}` and `{data}` are only data: nothing in them can run.

## Data, accuracy, limits

Name here the training data and their license, the test, and uses that it does not suit.
"""


def save_pretrained(
    folder: Union[str, Path],
    config: Union[str, Path, Config],
    checkpoint: Union[str, Path],
    label_map: Union[str, Path, None] = None,
    address: Optional[str] = None,
) -> None:
    """Write weights, config and a card into a folder, in the form of a repository.

    Args:
        folder (str | Path): Made where it does not exist. A ``README.md`` that is there stays.
        config (str | Path | Config): Config of the recognizer.
        checkpoint (str | Path): Its weights.
        label_map (str | Path, optional): Class names, one a line.
        address (str, optional): How the card names the model. Defaults to the folder.

    Raises:
        PANError: If the config has parts that are not of this package or of MMAction2.
        CheckpointError: If the checkpoint is damaged or does not fit the config.
    """
    config = load_config(config)
    data = plain_config(config)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = Path(config.filename or 'config').stem
    export_weights(config, checkpoint, folder / WEIGHTS, label_map, texts=dict(config=name))
    write_text(folder / CONFIG, json.dumps(data, indent=1) + '\n')
    if not (folder / 'README.md').exists():
        classes = json.loads(read_texts(folder / WEIGHTS)['classes'])
        card = CARD.format(
            name=(address or folder.name).rpartition('/')[2],
            address=address or folder,
            number=len(classes),
            classes=', '.join(classes),
            config=name,
            weights=WEIGHTS,
            data=CONFIG,
        )
        write_text(folder / 'README.md', card)


def push_to_hub(
    repository: str,
    config: Union[str, Path, Config],
    checkpoint: Union[str, Path],
    label_map: Union[str, Path, None] = None,
    private: bool = False,
    token: Optional[str] = None,
) -> str:
    """Upload a recognizer.

    Args:
        repository (str): ``OWNER/NAME``; made where it does not exist.
        config (str | Path | Config): Config of the recognizer.
        checkpoint (str | Path): Its weights.
        label_map (str | Path, optional): Class names, one a line.
        private (bool): Whether a new repository is private. Defaults to False.
        token (str, optional): Defaults to the one saved by ``hf auth login``.

    Returns:
        str: Address of the commit.

    Raises:
        ImportError: If huggingface_hub is missing.
        OSError: If the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(folder, config, checkpoint, label_map, f'{PREFIX}{repository}')
        api.create_repo(repository, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder))
