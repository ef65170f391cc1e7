// The page: it asks the server's own API, and nobody else.

const RECORDING = { video: { width: { ideal: 640 }, height: { ideal: 480 } } };
const FILMING = { video: { width: { ideal: 320 }, height: { ideal: 240 } } };
const FRAME_TIME = 40; // ms from one frame to the next, if server and network keep up

const $ = (id) => document.getElementById(id);
let limits = {};
let clip = null; // File or Blob
let token = sessionStorage.getItem('token') || '';

// Showing --------------------------------------------------------------------------------------

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function say(place, message, isError = false) {
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  const role = isError ? 'alert' : 'status';
  place.replaceChildren(element('p', { className: isError ? 'error' : '', textContent: text, role }));
}

function percent(score) {
  return `${Math.round(100 * score)}%`;
}

function showBars(list, top) {
  list.replaceChildren(
    ...top.map(({ name, score }) => {
      const bar = element('i');
      bar.style.width = `${100 * score}%`;
      const words = [name, percent(score)].map((textContent) => element('span', { textContent }));
      return element('li', {}, bar, ...words);
    }),
  );
}

function showPictures(place, pictures = []) {
  place.replaceChildren(
    ...pictures.map(({ name, title, words, image }) =>
      element(
        'figure',
        { id: name },
        element('h2', { textContent: title }),
        element('figcaption', { textContent: `${words}.` }),
        element('div', { tabIndex: 0 }, element('img', { src: image, alt: words })),
      ),
    ),
  );
}

function showEvents(events) {
  const rows = events
    .map(({ name, start, end, score }) => {
      const textContent = `${start.toFixed(1)} … ${end.toFixed(1)} s: ${name}, ${percent(score)}`;
      return element('li', { textContent });
    })
    .reverse();
  const title = element('h3', { textContent: 'Events' });
  $('events').replaceChildren(...(rows.length ? [title, element('ul', {}, ...rows)] : []));
}

// Asking ---------------------------------------------------------------------------------------

class Refused extends Error {}

function authorization() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { ...options, headers: authorization() });
  } catch {
    throw new Refused('the server does not answer');
  }
  if (answer.status === 204) return null;
  return unpack(answer.status, await answer.text());
}

function unpack(status, text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = { error: text || `the server answered with status ${status}` };
  }
  if (status === 401) $('door').hidden = false;
  if (status >= 400) throw new Refused(body.error);
  return body;
}

/** POST a form; XMLHttpRequest tells how much of it has been sent, which fetch does not. */
function upload(address, form, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', address);
    Object.entries(authorization()).forEach((header) => request.setRequestHeader(...header));
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onerror = () => reject(new Refused('the server does not answer'));
    request.onload = () => {
      try {
        resolve(unpack(request.status, request.responseText));
      } catch (error) {
        reject(error);
      }
    };
    request.send(form);
  });
}

async function start() {
  let info;
  try {
    info = await ask('api/info');
  } catch (error) {
    say($('status'), error.message, true);
    return;
  }
  $('door').hidden = true;
  $('status').replaceChildren();
  limits = info.limits;
  document.title = $('title').textContent = info.title;
  $('rules').textContent =
    `At most ${+(limits.bytes / 2 ** 20).toFixed(2)} MiB and ${limits.seconds} s. The clip stays ` +
    'on this server and is deleted before the answer comes. What the browser cannot play may ' +
    'still be recognized.';
  $('live-tab').hidden = !(info.timeline && limits.cameras);
}

$('door').addEventListener('submit', (event) => {
  event.preventDefault();
  token = $('token').value.trim();
  sessionStorage.setItem('token', token);
  start();
});

// Clip -----------------------------------------------------------------------------------------

function choose(file) {
  clip = file;
  const preview = $('preview');
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.srcObject = null;
  preview.hidden = !file;
  preview.controls = true;
  if (file) preview.src = URL.createObjectURL(file);
  else preview.removeAttribute('src');
  $('invitation').hidden = Boolean(file);
  $('clear').hidden = !file;
  $('status').replaceChildren();
}

$('file').addEventListener('change', () => $('file').files.length && choose($('file').files[0]));
$('clear').addEventListener('click', () => {
  $('file').value = '';
  choose(null);
});
$('preview').addEventListener('click', (event) => event.preventDefault()); // not the label's
$('preview').addEventListener('error', () => {
  if (!clip) return;
  $('preview').hidden = true;
  $('invitation').hidden = false;
  $('invitation').textContent = `${clip.name || 'The clip'} cannot be played here`;
});
for (const name of ['dragenter', 'dragover', 'dragleave', 'drop']) {
  $('drop').addEventListener(name, (event) => {
    event.preventDefault();
    $('drop').classList.toggle('over', name.startsWith('dragenter') || name === 'dragover');
    if (name === 'drop' && event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
  });
}

$('recognise').addEventListener('click', async () => {
  const status = $('status');
  $('label').replaceChildren();
  $('pictures').replaceChildren();
  $('label-hint').hidden = false;
  if (!clip) return say(status, 'upload or record a clip first', true);
  if (clip.size > limits.bytes - 1024) {
    const most = +(limits.bytes / 2 ** 20).toFixed(2);
    return say(status, `the file has more than ${most} MiB; make it smaller or shorter`, true);
  }
  const form = new FormData();
  form.append('video', clip, 'clip');
  $('recognise').disabled = true;
  $('progress').hidden = false;
  say(status, 'uploading …');
  const began = performance.now();
  try {
    const result = await upload('api/predict?timeline=true&pictures=true', form, (share) => {
      $('progress').value = share;
      if (share === 1) say(status, 'looking …');
    });
    $('label-hint').hidden = true;
    showBars($('label'), result.top);
    showPictures($('pictures'), result.pictures);
    const parts = Object.entries(result.seconds).map(([part, s]) => `${part} ${s.toFixed(2)} s`);
    const total = (performance.now() - began) / 1000;
    say(status, `done in ${total.toFixed(2)} s (${parts.join(', ')})`);
  } catch (error) {
    say(status, error.message, true);
  } finally {
    $('recognise').disabled = false;
    $('progress').hidden = true;
    $('progress').removeAttribute('value');
  }
});

let recorder = null;

$('record').addEventListener('click', async () => {
  if (recorder) return recorder.stop();
  let stream;
  try {
    stream = await openCamera(RECORDING);
  } catch (error) {
    return say($('status'), error.message, true);
  }
  choose(null);
  const preview = $('preview');
  preview.srcObject = stream;
  preview.hidden = preview.controls = false;
  $('invitation').hidden = true;
  preview.play();
  const pieces = [];
  recorder = new MediaRecorder(stream);
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.onstop = () => {
    clearTimeout(end);
    stream.getTracks().forEach((track) => track.stop());
    const { mimeType } = recorder;
    recorder = null;
    setPressed($('record'), false, 'Record');
    choose(new Blob(pieces, { type: mimeType }));
  };
  recorder.start();
  const end = setTimeout(() => recorder.stop(), 1000 * limits.seconds);
  setPressed($('record'), true, 'Stop');
  say($('status'), 'recording …');
});

function setPressed(button, isPressed, text) {
  button.setAttribute('aria-pressed', isPressed);
  button.textContent = text;
}

async function openCamera(constraints) {
  if (!navigator.mediaDevices) throw new Error('browsers give the camera to https addresses only');
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    throw new Error(`the camera cannot be used: ${error.message}`);
  }
}

// Live -----------------------------------------------------------------------------------------

let film = null; // { name, stream } while the camera films

$('film').addEventListener('click', async () => {
  if (film) return stopFilm();
  const status = $('live-status');
  $('film').disabled = true;
  try {
    const stream = await openCamera(FILMING);
    film = { stream, name: '' };
    $('camera').srcObject = stream;
    await $('camera').play();
    film.name = (await ask('api/cameras', { method: 'POST' })).camera;
    setPressed($('film'), true, 'Stop');
    say(status, 'the first frames are on their way …');
    sendFrames(film);
  } catch (error) {
    stopFilm();
    say(status, error.message, true);
  } finally {
    $('film').disabled = false;
  }
});

/** One frame after the other: the next is sent when the one before has been answered. */
async function sendFrames(mine) {
  const video = $('camera');
  const canvas = document.createElement('canvas');
  while (film === mine) {
    const next = performance.now() + FRAME_TIME;
    const scale = Math.min(1, 320 / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(scale * video.videoWidth);
    canvas.height = Math.round(scale * video.videoHeight);
    canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
    const body = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.85));
    if (film !== mine) return;
    try {
      const result = await ask(`api/cameras/${mine.name}`, { method: 'POST', body });
      if (film === mine && result) showLive(result);
    } catch (error) {
      if (film !== mine) return;
      stopFilm();
      say($('live-status'), error.message, true);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
  }
}

function showLive({ top, events, latency, fps, dropped, missing, pictures }) {
  let state = `${fps.toFixed(0)} frames a second`;
  if (dropped) state += `, ${dropped} left out because the server is busy`;
  if (!top.length) {
    say($('live-status'), `${missing} more frames until the first result; ${state}`);
    return;
  }
  say($('live-status'), `latency ${(1000 * latency).toFixed(0)} ms, ${state}`);
  showBars($('live-label'), top);
  showEvents(events);
  if (pictures) showPictures($('live-pictures'), pictures);
}

function stopFilm() {
  if (!film) return;
  const { stream, name } = film;
  film = null;
  stream.getTracks().forEach((track) => track.stop());
  $('camera').srcObject = null;
  setPressed($('film'), false, 'Film');
  $('live-status').replaceChildren();
  if (name) ask(`api/cameras/${name}`, { method: 'DELETE', keepalive: true }).catch(() => {});
}

addEventListener('pagehide', stopFilm);

// Tabs -----------------------------------------------------------------------------------------

const tabs = [$('clip-tab'), $('live-tab')];

function open(tab) {
  for (const other of tabs) {
    other.setAttribute('aria-selected', other === tab);
    other.tabIndex = other === tab ? 0 : -1;
    $(other.getAttribute('aria-controls')).hidden = other !== tab;
  }
  if (tab !== $('live-tab')) stopFilm();
}

for (const tab of tabs) {
  tab.addEventListener('click', () => open(tab));
  tab.addEventListener('keydown', ({ key }) => {
    if (key !== 'ArrowLeft' && key !== 'ArrowRight') return;
    const other = tabs.find((one) => one !== tab && !one.hidden);
    if (other) {
      other.focus();
      open(other);
    }
  });
}

start();
