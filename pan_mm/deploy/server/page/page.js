// The page: it asks the server's own API, and no other server.

const FRAME_TIME = 40; // ms from one frame to the next, if server and network keep up

const $ = (selector) => document.querySelector(selector);
let limits = {};
let token = sessionStorage.getItem('token') || '';
let film = null; // { stream, address } while the camera films

function echo(section, message, isError = false) {
  const status = $(`${section} .status`);
  status.textContent = message.charAt(0).toUpperCase() + message.slice(1);
  status.classList.toggle('error', isError);
}

function show(section, { top = [], unsure = false }) {
  $(`${section} .unsure`).hidden = !unsure;
  const bars = top.map(({ name, score }) => {
    const bar = document.createElement('li');
    bar.style.backgroundSize = `${100 * score}% 100%`;
    for (const word of [name, `${Math.round(100 * score)}%`]) {
      bar.appendChild(document.createElement('span')).textContent = word;
    }
    return bar;
  });
  $(`${section} .bars`).replaceChildren(...bars);
}

async function request(method, address, body, keepalive = false) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(address, { method, body, headers, keepalive });
  if (answer.status === 401) $('#login').hidden = false;
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

async function ask(...what) {
  const answer = await request(...what);
  return answer.status === 204 ? null : answer.json();
}

async function start() {
  try {
    const info = await ask('GET', 'api/info');
    limits = info.limits;
    limits.mib = +(limits.max_bytes / 2 ** 20).toFixed(2);
    $('#live').hidden = !info.live;
    $('#known').textContent = `It knows ${info.classes.length} actions`;
    $('#classes').textContent = info.classes.join(', ');
  } catch (error) {
    return echo('#clip', error.message, true);
  }
  $('#login').hidden = true;
  $('#rules').textContent =
    `At most ${limits.mib} MiB and ${limits.max_seconds} s. The clip stays on this server and ` +
    'is deleted before the answer comes.';
  echo('#clip', '');
}

$('#login').addEventListener('submit', (event) => {
  event.preventDefault();
  token = $('#token').value.trim();
  sessionStorage.setItem('token', token);
  start();
});

$('#recognize').addEventListener('click', () => recognize(async () => $('#file').files[0]));
$('#sample').addEventListener('click', () =>
  recognize(async () => (await request('GET', 'api/sample')).blob()),
);

async function recognize(choose) {
  show('#clip', {});
  $('#recognize').disabled = $('#sample').disabled = true;
  echo('#clip', 'looking …');
  try {
    const clip = await choose();
    if (!clip) throw new Error('choose a clip first');
    if (clip.size > limits.max_bytes - 1024) {
      throw new Error(`the file has more than ${limits.mib} MiB; make it smaller`);
    }
    const form = new FormData();
    form.append('video', clip, 'clip');
    const result = await ask('POST', 'api/predict', form);
    show('#clip', result);
    const parts = Object.entries(result.seconds).map(([part, s]) => `${part} ${s.toFixed(2)} s`);
    echo('#clip', `done: ${parts.join(', ')}`);
  } catch (error) {
    echo('#clip', error.message, true);
  }
  $('#recognize').disabled = $('#sample').disabled = false;
}

$('#film').addEventListener('click', async () => {
  if (film) return stopFilm();
  $('#film').disabled = true;
  try {
    if (!navigator.mediaDevices) throw new Error('browsers give cameras to https addresses only');
    const size = { width: { ideal: 320 }, height: { ideal: 240 } };
    film = { stream: await navigator.mediaDevices.getUserMedia({ video: size }) };
    film.address = `api/cameras/${(await ask('POST', 'api/cameras')).camera}`;
    $('#camera').srcObject = film.stream;
    await $('#camera').play();
    setFilming(true);
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
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  try {
    while (film === mine) {
      const next = performance.now() + FRAME_TIME;
      canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
      const frame = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.85));
      const result = film === mine && (await ask('POST', mine.address, frame));
      if (film === mine && result) {
        show('#live', result);
        echo('#live', `latency ${(1000 * result.latency).toFixed(0)} ms`);
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
    }
  } catch (error) {
    if (film === mine) stopFilm(error.message);
  }
}

function setFilming(isFilming) {
  $('#camera').hidden = !isFilming;
  $('#film').setAttribute('aria-pressed', isFilming);
  $('#film').textContent = isFilming ? 'Stop' : 'Film';
}

function stopFilm(message = '') {
  film?.stream.getTracks().forEach((track) => track.stop());
  if (film?.address) ask('DELETE', film.address, null, true).catch(() => {});
  film = null;
  setFilming(false);
  echo('#live', message, message !== '');
}

addEventListener('pagehide', () => film && stopFilm());

start();
