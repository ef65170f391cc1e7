// The page: it asks the server's own API, and no other server.

const FRAME_TIME = 40; // ms from one frame to the next, if server and network keep up

const $ = (selector) => document.querySelector(selector);
let limits = {};
let token = sessionStorage.getItem('token') || '';

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function echo(section, message, isError = false) {
  const status = $(`${section} .status`);
  status.textContent = message.charAt(0).toUpperCase() + message.slice(1);
  status.classList.toggle('error', isError);
}

function show(section, { top = [], pictures = [], unsure = false } = {}) {
  $(`${section} .unsure`).hidden = !unsure;
  const bars = top.map(({ name, score }) => {
    const bar = element('i');
    bar.style.width = `${100 * score}%`;
    const words = [name, `${Math.round(100 * score)}%`];
    return element('li', {}, bar, ...words.map((textContent) => element('span', { textContent })));
  });
  $(`${section} .bars`).replaceChildren(...bars);
  const figures = pictures.map(({ name, title, words, image }) => {
    const caption = element('figcaption', {}, element('b', { textContent: title }), `: ${words}.`);
    const picture = element('div', { tabIndex: 0 }, element('img', { src: image, alt: words }));
    return element('figure', { id: name }, caption, picture);
  });
  $(`${section} .pictures`).replaceChildren(...figures);
}

async function ask(method, address, body, keepalive = false) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(address, { method, body, headers, keepalive });
  if (answer.status === 401) $('#login').hidden = false;
  const result = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(result.error);
  return result;
}

async function start() {
  try {
    const info = await ask('GET', 'api/info');
    limits = info.limits;
    document.title = $('h1').textContent = info.title;
    $('#live').hidden = !info.live;
    $('#known').textContent = `It knows ${info.classes.length} actions`;
    $('#classes').textContent = info.classes.join(', ');
  } catch (error) {
    return echo('#clip', error.message, true);
  }
  $('#login').hidden = true;
  $('#rules').textContent =
    `At most ${mebibytes()} MiB and ${limits.seconds} s. The clip stays on this server and is ` +
    'deleted before the answer comes.';
  echo('#clip', '');
}

function mebibytes() {
  return +(limits.bytes / 2 ** 20).toFixed(2);
}

$('#login').addEventListener('submit', (event) => {
  event.preventDefault();
  token = $('#token').value.trim();
  sessionStorage.setItem('token', token);
  start();
});

let clip = null;

function choose(file) {
  clip = file;
  URL.revokeObjectURL($('#preview').src);
  $('#preview').src = clip ? URL.createObjectURL(clip) : '';
  $('#preview').hidden = !clip;
  show('#clip');
  echo('#clip', '');
}

$('#file').addEventListener('change', () => choose($('#file').files[0]));
$('#sample').addEventListener('click', async () => {
  choose(await (await fetch('sample.mp4')).blob());
});
$('#preview').addEventListener('error', () => {
  $('#preview').hidden = true; // what cannot be played here may still be recognized
});

$('#recognize').addEventListener('click', async () => {
  show('#clip');
  if (!clip) return echo('#clip', 'choose a clip first', true);
  if (clip.size > limits.bytes - 1024) {
    return echo('#clip', `the file has more than ${mebibytes()} MiB; make it smaller`, true);
  }
  const form = new FormData();
  form.append('video', clip, 'clip');
  $('#recognize').disabled = true;
  echo('#clip', 'looking …');
  try {
    const result = await ask('POST', 'api/predict?pictures=true', form);
    show('#clip', result);
    const parts = Object.entries(result.seconds).map(([part, s]) => `${part} ${s.toFixed(2)} s`);
    echo('#clip', `done: ${parts.join(', ')}`);
  } catch (error) {
    echo('#clip', error.message, true);
  }
  $('#recognize').disabled = false;
});

let film = null; // { stream, address } while the camera films

$('#film').addEventListener('click', async () => {
  if (film) return stopFilm();
  const video = $('#camera');
  $('#film').disabled = true;
  try {
    if (!navigator.mediaDevices) throw new Error('browsers give cameras to https addresses only');
    const size = { width: { ideal: 320 }, height: { ideal: 240 } };
    film = { stream: await navigator.mediaDevices.getUserMedia({ video: size }) };
    film.address = `api/cameras/${(await ask('POST', 'api/cameras')).camera}`;
    video.srcObject = film.stream;
    await video.play();
    video.hidden = false;
    setPressed(true);
    echo('#live', 'the first frames are on their way …');
    sendFrames(film);
  } catch (error) {
    stopFilm(error.message);
  }
  $('#film').disabled = false;
});

/** One frame after the other: the next is sent when the one before has been answered. */
async function sendFrames(mine) {
  const video = $('#camera');
  const canvas = document.createElement('canvas');
  const scale = Math.min(1, 320 / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(scale * video.videoWidth);
  canvas.height = Math.round(scale * video.videoHeight);
  try {
    while (film === mine) {
      const next = performance.now() + FRAME_TIME;
      canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
      const frame = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.85));
      const result = film === mine && (await ask('POST', mine.address, frame));
      if (film === mine && result) {
        show('#live', result);
        const { latency, dropped } = result;
        echo('#live', `latency ${(1000 * latency).toFixed(0)} ms, ${dropped} frames left out`);
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
    }
  } catch (error) {
    if (film === mine) stopFilm(error.message);
  }
}

function setPressed(isPressed) {
  $('#film').setAttribute('aria-pressed', isPressed);
  $('#film').textContent = isPressed ? 'Stop' : 'Film';
}

function stopFilm(message = '') {
  film?.stream.getTracks().forEach((track) => track.stop());
  if (film?.address) ask('DELETE', film.address, null, true).catch(() => {});
  film = null;
  $('#camera').hidden = true;
  setPressed(false);
  echo('#live', message, message !== '');
}

addEventListener('pagehide', () => film && stopFilm());

start();
