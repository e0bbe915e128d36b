"use strict";

const N_HITS = 12;
const MAX_WORDS = 1000;
const $ = (id) => document.getElementById(id);
const state = { about: null, points: [], answer: null, ask: null, current: -1 };
let running = null;
let viewing = null;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function plural(n, word) {
  return `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
}

async function ask(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is 'skxmodal serve' still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(answer.error || `The server answered with the error ${response.status}.`);
  }
  return answer;
}

function showError(message) {
  $("error").textContent = message;
  $("error").hidden = false;
  $("status").textContent = "";
}

/* One search at a time: a new one takes the place of one that still runs. */
async function search(description, start, show) {
  if (running) running.abort();
  const mine = (running = new AbortController());
  $("error").hidden = true;
  $("status").textContent = description;
  $("answer").setAttribute("aria-busy", "true");
  try {
    const answer = await start(mine.signal);
    if (mine === running) show(answer);
  } catch (error) {
    if (mine === running && error.name !== "AbortError") showError(error.message);
  } finally {
    if (mine === running) $("answer").removeAttribute("aria-busy");
  }
}

/* The server counts characters, not halves of them. */
function tooLong(words) {
  return [...words].length > MAX_WORDS;
}

function searchWords(words, { n = N_HITS, remember = true } = {}) {
  const query = words.trim();
  if (!query) {
    showError("Say what the picture should show.");
    $("words").focus();
    return;
  }
  if (tooLong(query)) {
    showError(`That is longer than ${MAX_WORDS.toLocaleString("en")} characters. Search for fewer words.`);
    return;
  }
  $("words").value = query;
  if (remember) history.pushState(null, "", `#q=${encodeURIComponent(query)}`);
  search("Searching …", (signal) => ask(`api/search?q=${encodeURIComponent(query)}&k=${n}`, { signal }), (answer) => {
    showAnswer(answer, {
      title: `Pictures for “${query}”`,
      found: plural(answer.hits.length, "picture"),
      again: (more) => searchWords(query, { n: more, remember: false }),
    });
  });
}

function searchPicture(file, n = N_HITS) {
  // Browsers leave the type empty where they don't know it.
  if (file.type && !file.type.startsWith("image/")) {
    showError(`${file.name} is no picture.`);
    return;
  }
  const limit = state.about ? state.about.max_upload : Infinity;
  if (file.size > limit) {
    showError(`That file is larger than ${limit / 2 ** 20} MiB.`);
    return;
  }
  const start = (signal) => ask(`api/captions?k=${n}`, { method: "POST", body: file, signal });
  search("Looking at the picture …", start, (answer) => {
    showAnswer(answer, {
      title: `Words for ${file.name || "the picture"}`,
      found: plural(answer.hits.length, "caption"),
      picture: file,
      again: (more) => searchPicture(file, more),
    });
  });
}

function showAnswer(answer, { title, found, picture, again }) {
  state.answer = answer;
  state.ask = again;
  $("title").textContent = title;
  document.title = title;
  $("status").textContent = `${found} found.`;
  $("answer").hidden = false;
  $("hits").replaceChildren(...answer.hits.map(hitCard));
  $("more").hidden = answer.hits.length >= Math.min(answer.n_possible, 200);
  URL.revokeObjectURL($("asked").src);
  $("asked").hidden = !picture;
  if (picture) $("asked").src = URL.createObjectURL(picture);
  drawMap();
}

function hitCard(hit, rank) {
  const words = hit.caption ?? hit.captions[0] ?? hit.name;
  // The caption stands beside the picture, in the same button.
  const image = make("img", { src: hit.image, alt: "", loading: "lazy" });
  image.addEventListener("error", () => (image.alt = "This picture is not there any more."));
  const card = make("button", { type: "button", className: "hit" },
    make("span", { className: "frame" }, image),
    make("span", { className: "text" },
      make("span", { className: "score" },
        make("span", { textContent: `${rank + 1}.` }),
        make("span", { textContent: hit.score.toFixed(3), title: "cosine in the shared space" })),
      make("span", { className: "caption", textContent: words })));
  image.alt = hit.caption === undefined ? words : `The picture with the caption: ${words}`;
  card.setAttribute("aria-label", `${rank + 1}. ${words}, score ${hit.score.toFixed(3)}. Show its words.`);
  card.addEventListener("click", () => view(hit));
  return make("li", {}, card);
}

/* A picture of the gallery, and the neighbours in the other direction. */
async function view(picture) {
  if (viewing) viewing.abort();
  const mine = (viewing = new AbortController());
  $("viewer-name").textContent = picture.name;
  $("viewer-image").src = `${picture.image}&large=1`;
  $("viewer-image").alt = picture.captions[0] ?? picture.name;
  const own = picture.captions.map((words) => make("li", {}, wordsButton(words)));
  $("viewer-own").replaceChildren(...(own.length ? own : [make("li", { textContent: "none" })]));
  $("viewer-near").replaceChildren(make("li", { textContent: "…" }));
  if (!$("viewer").open) $("viewer").showModal();
  try {
    const answer = await ask(`api/captions/${picture.item}?k=8`, { signal: mine.signal });
    if (mine !== viewing) return;
    $("viewer-near").replaceChildren(...answer.hits.map((hit) =>
      make("li", {}, wordsButton(hit.caption), ` ${hit.score.toFixed(3)}`)));
  } catch (error) {
    if (mine === viewing) $("viewer-near").replaceChildren(make("li", { textContent: error.message }));
  }
}

function wordsButton(words) {
  if (tooLong(words)) return make("span", { textContent: words });
  const button = make("button", { type: "button", className: "words", textContent: words });
  button.addEventListener("click", () => {
    $("viewer").close();
    searchWords(words);
    $("title").focus();
  });
  return button;
}

/* The map: places are scaled so that all points fit; y points up. */
function scaled() {
  const canvas = $("canvas");
  const { clientWidth: width, clientHeight: height } = canvas;
  const xs = state.points.map((point) => point.place[0]);
  const ys = state.points.map((point) => point.place[1]);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const margin = 16;
  const scale = Math.min((width - 2 * margin) / (right - left || 1), (height - 2 * margin) / (high - low || 1));
  return ([x, y]) => [
    width / 2 + (x - (left + right) / 2) * scale,
    height / 2 - (y - (low + high) / 2) * scale,
  ];
}

function drawMap() {
  const canvas = $("canvas");
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  if (!state.points.length) return;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const colours = getComputedStyle(document.documentElement);
  const colour = (name) => colours.getPropertyValue(`--${name}`);
  const place = scaled();
  const size = state.points.length > 800 ? 2.5 : 4;
  pen.globalAlpha = state.points.length > 800 ? 0.55 : 0.8;
  for (const point of state.points) {
    point.at = place(point.place);
    pen.fillStyle = colour(point.item === undefined ? "caption" : "picture");
    drawPoint(pen, point, size);
  }
  pen.globalAlpha = 1;
  if (state.answer) {
    const from = place(state.answer.place);
    pen.strokeStyle = pen.fillStyle = colour("asked");
    for (const hit of state.answer.hits) {
      const to = place(hit.place);
      pen.lineWidth = 1;
      line(pen, from, to);
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(...to, size + 2.5, 0, 2 * Math.PI);
      pen.stroke();
    }
    star(pen, from, 10);
  }
  const current = state.points[state.current];
  if (current) {
    pen.strokeStyle = colour("ink");
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(...current.at, size + 4, 0, 2 * Math.PI);
    pen.stroke();
  }
}

function drawPoint(pen, point, size) {
  const [x, y] = point.at;
  pen.beginPath();
  if (point.item === undefined) {
    pen.moveTo(x, y - size);
    pen.lineTo(x + size, y + size);
    pen.lineTo(x - size, y + size);
  } else {
    pen.arc(x, y, size, 0, 2 * Math.PI);
  }
  pen.fill();
}

function line(pen, from, to) {
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
}

function star(pen, [x, y], radius) {
  pen.beginPath();
  for (let corner = 0; corner < 10; corner++) {
    const r = corner % 2 ? radius * 0.42 : radius;
    const angle = (corner * Math.PI) / 5;
    pen.lineTo(x + r * Math.sin(angle), y - r * Math.cos(angle));
  }
  pen.closePath();
  pen.fill();
}

function nearest(event) {
  const { left, top } = $("canvas").getBoundingClientRect();
  let best = -1;
  let closest = 14;
  state.points.forEach(({ at }, number) => {
    const distance = Math.hypot(at[0] - (event.clientX - left), at[1] - (event.clientY - top));
    if (distance < closest) [best, closest] = [number, distance];
  });
  return best;
}

function pointAt(number, { aloud = false } = {}) {
  if (number === state.current) return;
  state.current = number;
  const point = state.points[number];
  $("tip").hidden = !point;
  $("canvas").style.cursor = point ? "pointer" : "";
  if (point) {
    const words = point.caption ?? point.captions[0] ?? point.name;
    $("tip-text").textContent = words;
    $("tip-image").hidden = point.item === undefined;
    if (point.image) $("tip-image").src = point.image;
    const [x, y] = point.at;
    const canvas = $("canvas");
    const tip = $("tip");
    tip.style.left = `${Math.max(0, Math.min(x + 12, canvas.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y + 12 + tip.offsetHeight > canvas.clientHeight ? Math.max(0, y - tip.offsetHeight - 12) : y + 12}px`;
    if (aloud) $("point").textContent = `${point.item === undefined ? "Caption" : "Picture"}: ${words}`;
  }
  drawMap();
}

function openPoint(point) {
  if (!point) return;
  if (point.item === undefined) searchWords(point.caption);
  else view(point);
}

function takeFile(list) {
  const file = list && list[0];
  if (file) searchPicture(file);
}

function listen() {
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    searchWords($("words").value);
  });
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    takeFile($("file").files);
    $("file").value = "";
  });
  $("more").addEventListener("click", () => state.ask(Math.min(200, 2 * state.answer.hits.length)));
  document.addEventListener("paste", (event) => takeFile(event.clipboardData.files));
  let depth = 0;
  const hasFile = (event) => event.dataTransfer.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (hasFile(event)) $("drop-here").hidden = !++depth;
  });
  document.addEventListener("dragleave", (event) => {
    if (hasFile(event)) $("drop-here").hidden = !(depth = Math.max(0, depth - 1));
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    $("drop-here").hidden = true;
    takeFile(event.dataTransfer.files);
  });

  const canvas = $("canvas");
  canvas.addEventListener("pointermove", (event) => pointAt(nearest(event)));
  canvas.addEventListener("pointerleave", () => pointAt(-1));
  canvas.addEventListener("click", (event) => openPoint(state.points[nearest(event)]));
  canvas.addEventListener("blur", () => pointAt(-1));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const { length } = state.points;
      pointAt((state.current + step + length) % length, { aloud: true });
    } else if (event.key === "Enter") {
      // Else the same key would press the button that the viewer puts the focus on.
      event.preventDefault();
      openPoint(state.points[state.current]);
    } else if (event.key === "Escape") {
      pointAt(-1);
    }
  });
  new ResizeObserver(drawMap).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMap);
  window.addEventListener("popstate", searchAddress);
}

function searchAddress() {
  const words = new URLSearchParams(location.hash.slice(1)).get("q");
  if (words) searchWords(words, { remember: false });
}

async function begin() {
  listen();
  try {
    const about = (state.about = await ask("api/about"));
    $("about").textContent =
      `${plural(about.n_pictures, "picture")} and ${plural(about.n_captions, "caption")}; ` +
      `${about.text_encoder} and ${about.image_encoder}, joined by ${about.mapper}`;
    for (const words of about.examples) {
      const button = make("button", { type: "button", textContent: words });
      button.addEventListener("click", () => searchWords(words));
      $("examples").append(button);
    }
    $("examples").hidden = !about.examples.length;
    searchAddress();
    const map = await ask("api/map");
    state.points = [...map.pictures, ...map.captions].sort((a, b) => a.place[0] - b.place[0]);
    const drawn = map.pictures.length < about.n_pictures || map.captions.length < about.n_captions
      ? `${plural(map.pictures.length, "picture")} and ${plural(map.captions.length, "caption")} drawn at random. ` : "";
    $("share").textContent =
      `${drawn}The two main directions of many: they show ${(100 * map.share).toFixed(0)}% of the variance.`;
    drawMap();
  } catch (error) {
    showError(error.message);
  }
}

begin();
