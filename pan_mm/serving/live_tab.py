"""The page's live camera."""

import html

import gradio as gr

from pan_mm.visualization import tile

from .analysis import VideoAnalyzer
from .limits import Refusal
from .live import LiveResult
from .markup import error_text, picture, status_text

SIZE = dict(video=dict(width=dict(ideal=320), height=dict(ideal=240)))
FRAME_TIME = 0.04  # seconds from one frame to the next, if browser and network keep up


def live_tab(blocks: gr.Blocks, analyzer: VideoAnalyzer) -> None:
    """Put the camera and what is seen in it into the tab that is open.

    Args:
        blocks (gr.Blocks): The page; when it is closed, the camera is forgotten.
        analyzer (VideoAnalyzer): Its ``cameras`` are fed.
    """
    cameras = analyzer.cameras

    def watch(picture, request: gr.Request):
        try:
            camera = cameras.feed(request.session_hash, picture or '')
        except Refusal as refusal:
            return gr.skip(), error_text(str(refusal)), gr.skip(), gr.skip()
        if camera.failed:
            message = 'the server failed at this camera; its log says more'
            return gr.skip(), error_text(message), gr.skip(), gr.skip()
        result = camera.result
        if result is camera.shown or result is None:
            return gr.skip()
        camera.shown = result
        return _show(result, analyzer.inferencer.classes)

    def leave(request: gr.Request):
        cameras.leave(request.session_hash)

    gr.Markdown(
        'Film, and see what is recognised while you film. The server forgets each frame as soon '
        'as its window has passed.'
    )
    with gr.Row():
        with gr.Column(min_width=320):
            camera = camera_input()
        with gr.Column(min_width=320):
            label = gr.Label(num_top_classes=5, label='Actions now', elem_id='live-label')
            status = gr.HTML(elem_id='live-status')
            events = gr.HTML(elem_id='events')
    maps = gr.HTML(elem_id='live-maps')
    camera.stream(
        watch,
        camera,
        [label, status, events, maps],
        api_visibility='private',
        stream_every=FRAME_TIME,
        concurrency_limit=None,
        show_progress='hidden',
    )
    blocks.unload(leave)


def camera_input() -> gr.Image:
    """Gradio's camera, whose frames are taken as the browser sends them and never as a file."""
    camera = gr.Image(
        sources=['webcam'],
        streaming=True,
        webcam_options=gr.WebcamOptions(mirror=False, constraints=SIZE),
        label='Camera',
        height=340,
        elem_id='camera',
    )

    async def refuse(path):
        raise gr.Error('frames come from the camera', print_exception=False)

    camera.async_move_resource_to_block_cache = refuse
    camera.preprocess = lambda payload: None if payload is None else payload.url
    return camera


def _show(result: LiveResult, classes: list) -> tuple:
    """Bars, state, events and PA maps."""
    state = f'{result.fps:.0f} frames a second'
    if result.dropped:
        state += f', {result.dropped} left out because the server is busy'
    if not result.top:
        wait = f'{result.missing} more frames until the first result; {state}.'
        return gr.skip(), status_text(wait), gr.skip(), gr.skip()
    scores = {item['name']: item['score'] for item in result.top}
    rows = ''.join(
        f'<li>{event.start:.1f} … {event.end:.1f} s: {html.escape(classes[event.label])}, '
        f'{event.score:.0%}</li>'
        for event in reversed(result.events)
    )
    return (
        scores,
        status_text(f'Latency {1000 * result.latency:.0f} ms, {state}.'),
        f'<h3>Events</h3><ul>{rows}</ul>' if rows else '',
        gr.skip() if result.maps is None else _moving(result.maps),
    )


def _moving(maps):
    names = [f'PA {number}' for number in range(1, len(maps) + 1)]
    words = 'PA maps of the newest segment, one for each pair of adjacent frames'
    return picture('What moves', words, tile([list(maps)], (), names, width=200))
