// The page: it asks the server's own API, and no other server.

const FRAME_TIME = 40; // ms from one frame to the next, if server and network keep up

const $ = (selector) => document.querySelector(selector);
let limits = {};
let clip = null; // File or Blob
let token = sessionStorage.getItem('token') || '';

// Showing --------------------------------------------------------------------------------------

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function say(section, message, isError = false) {
  const status = $(`${section} .status`);
  status.textContent = message.charAt(0).toUpperCase() + message.slice(1);
  status.classList.toggle('error', isError);
}

function percent(score) {
  return `${Math.round(100 * score)}%`;
}

function show(section, { top = [], events = [], pictures = [] } = {}) {
  const bars = top.map(({ name, score }) => {
    const bar = element('i');
    bar.style.width = `${100 * score}%`;
    const words = [name, percent(score)].map((textContent) => element('span', { textContent }));
    return element('li', {}, bar, ...words);
  });
  $(`${section} .bars`).replaceChildren(...bars);
  const rows = events.reverse().map(({ name, start, end, score }) => {
    const span = `${start.toFixed(1)} … ${end.toFixed(1)} s`;
    return element('li', { textContent: `${span}: ${name}, ${percent(score)}` });
  });
  $(`${section} .events`)?.replaceChildren(...rows);
  const figures = pictures.map(({ name, title, words, image }) => {
    const caption = element('figcaption', {}, element('b', { textContent: title }), `: ${words}.`);
    const picture = element('div', { tabIndex: 0 }, element('img', { src: image, alt: words }));
    return element('figure', { id: name }, caption, picture);
  });
  $(`${section} .pictures`).replaceChildren(...figures);
}

function setPressed(button, isPressed, text) {
  button.setAttribute('aria-pressed', isPressed);
  button.textContent = text;
}

// Asking ---------------------------------------------------------------------------------------

/** Ask the API; XMLHttpRequest tells how much of a body has been sent, which fetch does not. */
function ask(method, address, body = null, onProgress = null) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    request.responseType = 'json';
    if (token) request.setRequestHeader('Authorization', `Bearer ${token}`);
    if (onProgress) request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onerror = () => reject(new Error('the server does not answer'));
    request.onload = () => {
      if (request.status === 401) $('#login').hidden = false;
      if (request.status < 400) resolve(request.response);
      else reject(new Error(request.response?.error || `the server answered ${request.status}`));
    };
    request.send(body);
  });
}

async function start() {
  let info;
  try {
    info = await ask('GET', 'api/info');
  } catch (error) {
    return say('#clip', error.message, true);
  }
  $('#login').hidden = true;
  say('#clip', '');
  limits = info.limits;
  document.title = $('h1').textContent = info.title;
  $('#rules').textContent =
    `At most ${mebibytes()} MiB and ${limits.seconds} s. The clip stays on this server and is ` +
    'deleted before the answer comes.';
  $('#live').hidden = !(info.timeline && limits.cameras);
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

// Clip -----------------------------------------------------------------------------------------

function choose(file) {
  clip = file;
  const preview = $('#preview');
  URL.revokeObjectURL(preview.src);
  preview.srcObject = null;
  preview.src = URL.createObjectURL(file);
  preview.hidden = false;
  say('#clip', '');
}

$('#file').addEventListener('change', () => $('#file').files.length && choose($('#file').files[0]));
$('#preview').addEventListener('error', () => {
  $('#preview').hidden = true;
  say('#clip', 'the clip cannot be played here, but may still be recognized');
});
for (const name of ['dragover', 'dragleave', 'drop']) {
  $('#clip').addEventListener(name, (event) => {
    event.preventDefault();
    $('#clip').classList.toggle('over', name === 'dragover');
    if (name === 'drop' && event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
  });
}

$('#recognize').addEventListener('click', async () => {
  show('#clip');
  if (!clip) return say('#clip', 'upload or record a clip first', true);
  if (clip.size > limits.bytes - 1024) {
    return say('#clip', `the file has more than ${mebibytes()} MiB; make it smaller`, true);
  }
  const form = new FormData();
  form.append('video', clip, 'clip');
  const progress = $('progress');
  $('#recognize').disabled = true;
  progress.hidden = false;
  say('#clip', 'uploading …');
  const began = performance.now();
  try {
    const address = 'api/predict?timeline=true&pictures=true';
    const result = await ask('POST', address, form, (share) => {
      progress.value = share;
      if (share === 1) say('#clip', 'looking …');
    });
    show('#clip', result);
    const parts = Object.entries(result.seconds).map(([part, s]) => `${part} ${s.toFixed(2)} s`);
    const total = (performance.now() - began) / 1000;
    say('#clip', `done in ${total.toFixed(2)} s (${parts.join(', ')})`);
  } catch (error) {
    say('#clip', error.message, true);
  }
  $('#recognize').disabled = false;
  progress.hidden = true;
});

// Camera ---------------------------------------------------------------------------------------

/** Open the camera and show it in a video element. */
async function openCamera(video, width, height) {
  if (!navigator.mediaDevices) throw new Error('browsers give the camera to https addresses only');
  const size = { width: { ideal: width }, height: { ideal: height } };
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: size });
  video.hidden = false;
  await video.play();
  return video.srcObject;
}

function stopCamera(stream) {
  stream.getTracks().forEach((track) => track.stop());
}

let recorder = null;

$('#record').addEventListener('click', async () => {
  if (recorder) return recorder.stop();
  let stream;
  try {
    stream = await openCamera($('#preview'), 640, 480);
  } catch (error) {
    return say('#clip', `the camera cannot be used: ${error.message}`, true);
  }
  const pieces = [];
  recorder = new MediaRecorder(stream);
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.onstop = () => {
    clearTimeout(end);
    stopCamera(stream);
    setPressed($('#record'), false, 'Record');
    choose(new Blob(pieces, { type: recorder.mimeType }));
    recorder = null;
  };
  recorder.start();
  const end = setTimeout(() => recorder.stop(), 1000 * limits.seconds);
  setPressed($('#record'), true, 'Stop');
  say('#clip', 'recording …');
});

let film = null; // { stream, address } while the camera films

$('#film').addEventListener('click', async () => {
  if (film) return stopFilm();
  $('#film').disabled = true;
  try {
    film = { stream: await openCamera($('#camera'), 320, 240) };
    film.address = `api/cameras/${(await ask('POST', 'api/cameras')).camera}`;
    setPressed($('#film'), true, 'Stop');
    say('#live', 'the first frames are on their way …');
    sendFrames(film);
  } catch (error) {
    stopFilm();
    say('#live', error.message, true);
  }
  $('#film').disabled = false;
});

/** One frame after the other: the next is sent when the one before has been answered. */
async function sendFrames(mine) {
  const video = $('#camera');
  const canvas = document.createElement('canvas');
  try {
    while (film === mine) {
      const next = performance.now() + FRAME_TIME;
      const scale = Math.min(1, 320 / Math.max(video.videoWidth, video.videoHeight));
      canvas.width = Math.round(scale * video.videoWidth);
      canvas.height = Math.round(scale * video.videoHeight);
      canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
      const frame = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.85));
      const result = film === mine && (await ask('POST', mine.address, frame));
      if (film === mine && result) showLive(result);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
    }
  } catch (error) {
    if (film !== mine) return;
    stopFilm();
    say('#live', error.message, true);
  }
}

function showLive(result) {
  const { top, latency, fps, dropped, missing } = result;
  let state = `${fps.toFixed(0)} frames a second`;
  if (dropped) state += `, ${dropped} left out because the server is busy`;
  if (!top.length) return say('#live', `${missing} more frames until the first result; ${state}`);
  say('#live', `latency ${(1000 * latency).toFixed(0)} ms, ${state}`);
  show('#live', result);
}

function stopFilm() {
  if (!film) return;
  const { stream, address } = film;
  film = null;
  stopCamera(stream);
  $('#camera').hidden = true;
  setPressed($('#film'), false, 'Film');
  say('#live', '');
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (address) fetch(address, { method: 'DELETE', headers, keepalive: true }).catch(() => {});
}

addEventListener('pagehide', stopFilm);

start();
