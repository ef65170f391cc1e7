"""The web page: a clip or a camera, and what the recognizer makes of it."""

import html
import logging
from pathlib import Path

import gradio as gr
from fastapi import FastAPI

from pan_mm.visualization import paint_maps, tile, timeline_chart, weights_chart

from .analysis import VideoAnalyzer
from .limits import Refusal
from .live_tab import live_tab
from .markup import error_text, picture, status_text

RECORDING = dict(video=dict(width=dict(ideal=640), height=dict(ideal=480)))
SESSIONS = 100  # whose last message, such as a camera's frame, Gradio keeps
CSS = """
#clip video {max-height: 280px}
#status, #live-status {min-height: 1.5em}
.error {color: #b42318; font-weight: 600}
.dark .error {color: #ff9b8e}
.picture {overflow-x: auto}
.picture img {max-width: none; border-radius: 4px}
"""


def clip_input() -> gr.Video:
    """Gradio's video input, which takes uploads of this server and nothing else.

    Gradio's own would download a video that a request names by its address, and would run ffmpeg
    to take the sound away. A subclass would have Gradio write a file beside this one.
    """
    clip = gr.Video(
        sources=['upload', 'webcam'],
        include_audio=False,
        webcam_options=gr.WebcamOptions(mirror=False, constraints=RECORDING),
        label='Clip',
        height=340,
        elem_id='clip',
    )

    async def stay(path):
        if path is None or '://' in str(path):
            raise gr.Error('upload a video', print_exception=False)
        return str(path)

    clip.async_move_resource_to_block_cache = stay
    clip.preprocess = lambda payload: None if payload is None else payload.path
    return clip


def mount_page(app: FastAPI, analyzer: VideoAnalyzer, title: str, uploads: Path) -> FastAPI:
    """Put the page at ``/`` of the API's application.

    Args:
        app (FastAPI): As ``create_api`` gives it.
        analyzer (VideoAnalyzer): Does the work.
        title (str): What is served.
        uploads (Path): Folder that Gradio was told to put uploads into (``GRADIO_TEMP_DIR``).
    """
    uploads = uploads.resolve()
    limits = analyzer.limits
    nothing = ({}, '', *[gr.update(visible=False)] * 3)

    def recognise(path):
        if path is None:
            return (*nothing[:1], error_text('Upload or record a clip first.'), *nothing[2:])
        path = Path(path).resolve()
        try:
            if not path.is_relative_to(uploads) or not path.is_file():
                raise Refusal(404, 'the upload is no longer there; upload it again')
            with analyzer.gate.place():
                analysis = analyzer(path, inspect=True, timeline=True)
        except Refusal as refusal:
            return (*nothing[:1], error_text(str(refusal)), *nothing[2:])
        except Exception:
            logging.getLogger(__name__).exception('the page failed at a video')
            message = 'The server failed at this video; its log says more.'
            return (*nothing[:1], error_text(message), *nothing[2:])
        scores = {item['name']: item['score'] for item in analysis.top}
        return (scores, _summary(analysis), *_pictures(analysis, analyzer.inferencer.classes))

    with gr.Blocks(title=title, analytics_enabled=False) as blocks:
        gr.Markdown(f'# {html.escape(title)}')
        with gr.Tab('Clip'):
            gr.Markdown(
                f'Upload a clip or record one with the camera: at most '
                f'{limits.max_bytes / 2**20:g} MiB and {limits.max_seconds:g} s. '
                'It stays on this server and is deleted after ten minutes. A video that the '
                'browser cannot play may still be recognised.'
            )
            with gr.Row():
                with gr.Column(min_width=320):
                    clip = clip_input()
                    button = gr.Button('Recognise', variant='primary', elem_id='recognise')
                with gr.Column(min_width=320):
                    label = gr.Label(num_top_classes=5, label='Actions', elem_id='label')
                    status = gr.HTML(elem_id='status')
            pictures = [
                gr.HTML(visible=False, elem_id=name) for name in ('maps', 'weights', 'times')
            ]
        button.click(
            recognise,
            clip,
            [label, status, *pictures],
            api_visibility='private',
            concurrency_limit=1,
        )
        if analyzer.streams and limits.cameras:
            with gr.Tab('Live'):
                live_tab(blocks, analyzer)
    blocks.queue(max_size=limits.waiting)
    blocks.state_session_capacity = SESSIONS
    return gr.mount_gradio_app(
        app,
        blocks,
        '/',
        css=CSS,
        theme=gr.themes.Default(font=['system-ui', 'sans-serif'], font_mono=['monospace']),
        max_file_size=limits.max_bytes,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
    )


def _summary(analysis):
    parts = ', '.join(f'{part} {seconds:.2f} s' for part, seconds in analysis.seconds.items())
    total = sum(analysis.seconds.values())
    return status_text(f'Done in {total:.2f} s ({parts}).')


def _pictures(analysis, classes):
    seen, timeline = analysis.inspection, analysis.timeline
    maps = weights = times = gr.update(visible=False)
    if seen is not None:
        rows, names = [list(seen.frames[:, 0])], ['frame']
        title, words = 'Frames', 'First frame of each segment'
        if seen.pa_maps is not None:
            rows += [list(pair) for pair in paint_maps(seen.pa_maps).swapaxes(0, 1)]
            names += [f'PA {i + 1}' for i in range(len(rows) - 1)]
            title = 'What moves: persistence of appearance'
            words += ', below it the PA map of each pair of adjacent frames, bright where it moves'
        columns = [f'segment {i + 1}' for i in range(len(seen.frames))]
        maps = _shown(title, words, tile(rows, names, columns, width=132))
    if seen is not None and seen.vap_weights is not None:
        words = 'Weight of each window of time in the decision, from the whole clip (s = 1) down'
        weights = _shown('Timescales', words, weights_chart(seen.vap_weights))
    if timeline is not None:
        words = 'Scores of a window that slides over the video; bars below are events'
        if not timeline.complete:
            words += f'. The time sufficed for the first {timeline.times[-1]:.0f} s'
        chart = timeline_chart(timeline.times, timeline.scores, classes, timeline.events)
        times = _shown('Timeline', words, chart)
    return maps, weights, times


def _shown(title, words, image):
    return gr.update(visible=True, value=picture(title, words, image))
