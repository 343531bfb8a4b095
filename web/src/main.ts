/** The page: an image goes up, phrases are asked, answers are drawn. */

import { type Answer, type Sent, type Series, Service, ServiceError } from "./api";
import { BrushControls } from "./brush";
import { byId, make, plain, save } from "./dom";
import { onFiles } from "./files";
import { listenToKeys } from "./keys";
import { clearErrors, say, showError, showProgress } from "./messages";
import { markSlice, showNames } from "./naming";
import { existence, type Phrase, Phrases, toLayers } from "./phrases";
import { Stage } from "./stage";
import { setTargets } from "./suggestions";
import { switchTheme } from "./theme";

const service = new Service();
let upload: Series | null = null;
/** Number of times that files were opened. */
let opened = 0;
let isAsking = false;
/** Number of things that were begun by `guard` and are not over. */
let underWay = 0;
let edited: Phrase | null = null;

const stage = new Stage((style) => void (style === "probability" ? guard(fetchProbabilities) : draw()));
const phrases = new Phrases({
  draw: () => void draw(),
  ask: () => void ask(),
  download: (phrase) => void guard(() => saveMask(phrase)),
  go: (slice) => stage.jump(slice),
  list: () => showTasks(),
});
const left = byId("left", HTMLSelectElement);
const right = byId("right", HTMLSelectElement);
const compare = byId("compare", HTMLButtonElement);
const corrected = byId("corrected", HTMLSelectElement);
const edit = byId("edit", HTMLButtonElement);
const brush = new BrushControls(stage);
const named = byId("names", HTMLDivElement);

/** Do something that may fail, and say so where it does; progress is shown until the last such thing is over. */
async function guard(act: () => Promise<void>): Promise<void> {
  underWay += 1;
  try {
    await act();
  } catch (error) {
    if (error instanceof ServiceError && error.status === 401) askForToken();
    else showError(error);
  } finally {
    underWay -= 1;
    if (underWay === 0) showProgress(null);
  }
}

function askForToken(): void {
  byId("sign-in", HTMLFormElement).hidden = false;
  byId("token", HTMLInputElement).select();
  if (service.hasToken) showError(new ServiceError("This is not the token that the service was started with.", 401));
  else say("This service asks for a token.");
}

async function start(): Promise<void> {
  const model = await service.model();
  byId("sign-in", HTMLFormElement).hidden = true;
  clearErrors();
  setTargets(model.targets);
  byId("model", HTMLParagraphElement).textContent = plain(`${model.name}, ${model.targets.length} targets`);
  say("");
}

async function open(files: readonly Sent[]): Promise<void> {
  clearErrors();
  stopEditing();
  const turn = ++opened;
  const what = files.length === 1 ? (files[0] as Sent).file.name : `${files.length} files`;
  say(`Sending ${what} …`);
  showProgress(0);
  const sent = await service.upload(files, (share) => showProgress(share === 1 ? undefined : share));
  if (turn !== opened) return; // others were sent meanwhile
  offerSeries(sent.series);
  await show(sent);
}

/** Open one of the series that arrived. */
async function show(chosen: Series): Promise<void> {
  stopEditing();
  upload = chosen;
  compare.setAttribute("aria-pressed", "false");
  phrases.forget();
  for (const each of document.querySelectorAll<HTMLButtonElement>("[data-download$='.dcm']")) each.hidden = !chosen.dicom;
  named.replaceChildren();
  showFacts(chosen);
  void stage.clear();
  say(`Opening ${chosen.name} …`);
  showProgress(undefined);
  const fetched = service.file(`api/uploads/${chosen.id}/image`);
  const asked = ask(); // after the image, which is sooner there
  const content = await fetched;
  if (upload !== chosen) return; // another was opened meanwhile
  await stage.open(chosen, content);
  for (const id of ["naming", "tasks", "about"]) byId(id, HTMLElement).hidden = false;
  say(`${chosen.name} is open.`);
  await draw();
  await asked;
}

function describeSeries({ name, modality, depth }: Series): string {
  return `${[name, modality].filter(Boolean).join(" · ")} (${depth})`;
}

function offerSeries(all: readonly Series[]): void {
  const list = byId("series", HTMLSelectElement);
  byId("series-choice", HTMLLabelElement).hidden = all.length < 2;
  list.replaceChildren(...all.map((each) => make("option", { value: each.id }, describeSeries(each))));
  list.onchange = () => {
    const chosen = all.find((each) => each.id === list.value);
    if (chosen) void guard(() => show(chosen));
  };
}

function showFacts({ kind, name, width, height, depth, spacing_mm, modality, expires_at, notices }: Series): void {
  const rows: [string, string][] = [
    ["Name", name],
    ["Size", `${width} × ${height}${kind === "volume" ? ` × ${depth}` : ""}`],
  ];
  if (spacing_mm) rows.push(["Spacing", `${spacing_mm.map((each) => Number(each.toPrecision(3))).join(" × ")} mm`]);
  if (modality) rows.push(["Modality", modality]);
  const expires = new Date(expires_at);
  if (!Number.isNaN(expires.valueOf())) rows.push(["Kept until", `${expires.toLocaleTimeString([], { timeStyle: "short" })} at least`]);
  byId("facts", HTMLDListElement).replaceChildren(...rows.flatMap(([what, value]) => [make("dt", {}, what), make("dd", {}, value)]));
  byId("notices", HTMLUListElement).replaceChildren(...notices.map((each) => make("li", {}, each)));
}

/** Ask whatever waits; one question at a time, so that answers come in order. */
async function ask(): Promise<void> {
  if (!upload || isAsking) return;
  isAsking = true;
  for (let waiting = phrases.waiting(); waiting.length > 0; waiting = phrases.waiting()) {
    const about = upload;
    await guard(() => askSome(about, waiting));
  }
  isAsking = false;
}

async function askSome(about: Series, waiting: readonly Phrase[]): Promise<void> {
  for (const each of waiting) phrases.set(each, { state: "asking" });
  showProgress(undefined);
  try {
    const { results } = await service.segment(about.id, waiting.map((each) => each.text));
    await Promise.all(waiting.map((each, place) => take(about, each, results[place] as Answer)));
  } catch (error) {
    if (upload === about) for (const each of waiting) phrases.set(each, { state: "failed" });
    throw error;
  }
  if (upload !== about) return;
  if (stage.drawing === "probability") await fetchProbabilities();
  else await draw();
  say(waiting.map(describe).join(" "));
}

async function take(about: Series, phrase: Phrase, answer: Answer): Promise<void> {
  const mask = answer.mask ? await service.file(answer.mask) : null;
  if (upload === about) phrases.set(phrase, { state: "answered", answer, mask });
}

function describe({ text, answer }: Phrase): string {
  if (!answer) return "";
  if (answer.reason) return `${text}: ${answer.reason}.`;
  return `${text}: ${existence(answer)}.`;
}

async function fetchProbabilities(): Promise<void> {
  const lacking = phrases.masked().filter((each) => each.probability === null && each.answer?.probability);
  if (lacking.length > 0) showProgress(undefined);
  await Promise.all(
    lacking.map(async (each) => {
      const answer = each.answer as Answer;
      const found = await service.file(answer.probability as string);
      if (each.answer === answer) each.probability = found; // and no other image was opened meanwhile
    }),
  );
  await draw();
}

function isComparing(): boolean {
  return compare.getAttribute("aria-pressed") === "true";
}

/** Draw the masks that are on, unless their image is still on its way. */
async function draw(): Promise<void> {
  if (!upload || stage.shown !== upload.id) return;
  const sides = isComparing()
    ? [left, right].map((side) => phrases.all.filter((each) => each.text === side.value))
    : [phrases.masked().filter((each) => each.isOn)];
  await guard(() => stage.draw(sides.map(toLayers), sides.map(caption)));
}

function caption(shown: readonly Phrase[]): string {
  const said = shown.map(({ text, answer }) => (answer ? `${text} (${existence(answer)})` : text));
  return said.join(", ") || "no masks shown";
}

/** What can be compared and corrected: phrases with masks; one that is being corrected stays until that is over. */
function showTasks(): void {
  const masked = phrases.masked().map((each) => each.text);
  for (const [place, list] of [left, right, corrected].entries()) {
    const before = list.value;
    list.replaceChildren(...masked.map((each) => make("option", { value: each }, each)));
    list.value = masked.includes(before) ? before : (masked[place === 1 ? 1 : 0] ?? masked[0] ?? "");
  }
  if (left.value === right.value) right.value = masked.find((each) => each !== left.value) ?? right.value;
  compare.disabled = edited !== null || masked.length < 2;
  if (compare.disabled) compare.setAttribute("aria-pressed", "false");
  edit.disabled = masked.length === 0 && !edited;
  edit.textContent = edited ? "Stop" : "Start";
  edit.setAttribute("aria-pressed", String(edited !== null));
  brush.show(edited !== null);
  corrected.disabled = edited !== null;
}

async function saveMask({ answer, mask, text }: Phrase): Promise<void> {
  if (mask && upload && answer) save(mask, `${text.replace(/[^\p{L}\p{N}]+/gu, "-")}.mask.${upload.kind === "volume" ? "nii.gz" : "png"}`);
}

async function startEditing(): Promise<void> {
  const phrase = phrases.all.find((each) => each.text === corrected.value);
  const [layer] = phrase ? toLayers([phrase]) : [];
  if (!phrase || !layer || !upload || stage.shown !== upload.id) return;
  compare.setAttribute("aria-pressed", "false");
  await draw();
  await stage.edit(layer);
  edited = phrase;
  byId("corrected-phrase", HTMLInputElement).value = phrase.text;
  brush.setSize(Math.max(1, Math.round(Math.min(upload.width, upload.height) / (upload.kind === "volume" ? 80 : 50))));
  showTasks();
  await draw();
  say(`Correcting ${phrase.text}. Drag to paint, or use the arrow keys and the space bar.`);
}

function stopEditing(): void {
  if (!edited) return;
  stage.stopEditing();
  edited = null;
  showTasks();
  void draw();
  say("");
}

async function saveCorrection(): Promise<void> {
  if (!upload) return;
  const { content, name } = await stage.edited();
  const phrase = byId("corrected-phrase", HTMLInputElement).value.trim();
  showProgress(undefined);
  save(await service.correction(upload.id, content, name, phrase), "correction.zip");
  say("The corrected mask, the image and the phrase are downloaded.");
}

async function nameIt(): Promise<void> {
  if (!upload) return;
  const about = upload;
  say("Naming …");
  showProgress(undefined);
  const found = await service.name(about.id);
  if (upload !== about) return;
  showNames(named, found, (slice) => stage.jump(slice));
  const labels = new Set([...found.stations, ...found.organs].flatMap((each) => each.label ?? []));
  say(labels.size > 0 ? `It shows ${[...labels].join(", ")}.` : "No station and no organ was recognised.");
}

async function download(file: string): Promise<void> {
  if (!upload) return;
  say(`Fetching ${file} …`);
  showProgress(undefined);
  const suffix = upload.kind === "volume" ? ".nii.gz" : ".png";
  const numbers = phrases.all.flatMap((each) => (each.answer ? [["numbers", String(each.answer.number)]] : []));
  if (file !== "image" && numbers.length === 0) throw new ServiceError("There are no results; type what to outline.", 0);
  const chosen = file === "image" ? "" : `?${new URLSearchParams(numbers).toString()}`;
  save(await service.file(`api/uploads/${upload.id}/${file}${chosen}`), file === "image" ? `image${suffix}` : file);
  say("");
}

onFiles((files) => void guard(() => open(files)), showError);
service.onWait = (seconds) => say(`The service is busy; asking again in ${Math.ceil(seconds)} s.`);
stage.onSlice = (along) => markSlice(named, along);
byId("interface", HTMLAnchorElement).addEventListener("click", (event) => {
  event.preventDefault(); // a link would show no token
  void guard(async () => save(await service.file("openapi.json"), "openapi.json"));
});
byId("sign-in", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  service.setToken(byId("token", HTMLInputElement).value.trim());
  void guard(start);
});
byId("name", HTMLButtonElement).addEventListener("click", () => void guard(nameIt));
compare.addEventListener("click", () => {
  compare.setAttribute("aria-pressed", String(!isComparing()));
  void draw();
  if (isComparing()) stage.reveal();
});
for (const side of [left, right]) side.addEventListener("change", () => void draw());
edit.addEventListener("click", () => void (edited ? stopEditing() : guard(startEditing)));
byId("save-correction", HTMLButtonElement).addEventListener("click", () => void guard(saveCorrection));
for (const each of document.querySelectorAll<HTMLButtonElement>("[data-download]")) {
  each.addEventListener("click", () => void guard(() => download(each.dataset["download"] as string)));
}
listenToKeys([
  { keys: "o", does: "open files", act: () => byId("files", HTMLInputElement).click() },
  { keys: "/", does: "type a phrase", act: () => byId("phrase", HTMLInputElement).focus() },
  { keys: "1 2 3 4 5 6 7 8 9", shown: "1 … 9", does: "switch the mask of a phrase on or off", act: (key) => phrases.toggle(Number(key) - 1) },
  { keys: "m", does: "all masks, or none", act: () => phrases.toggleAll() },
  { keys: "p", does: "mask, outline or probability", act: () => stage.nextStyle() },
  { keys: "n", does: "name what the image shows", act: () => void guard(nameIt) },
  { keys: "Page-Up Page-Down", does: "next and previous slice; ten with Shift" },
  { keys: "Home End", does: "first and last slice" },
  { keys: "← → ↑ ↓", does: "move the image, the crosshair or the brush" },
  { keys: "v", does: "next plane", act: () => stage.nextPlane() },
  { keys: "+ -", does: "zoom in and out", act: (key) => stage.zoom(key === "+" ? 1 : -1) },
  { keys: "0", does: "whole image, and window as opened", act: () => stage.reset() },
  { keys: "c", does: "dragging moves the crosshair", act: () => stage.choose("point") },
  { keys: "g", does: "dragging moves the image", act: () => stage.choose("pan") },
  { keys: "w", does: "dragging changes the window; so does the right button", act: () => stage.choose("window") },
  { keys: "b e", does: "brush that adds, or erases", act: (key) => brush.choose(key === "b" ? "add" : "erase") },
  { keys: "[ ]", does: "smaller and larger brush", act: (key) => brush.resize(key === "[" ? -1 : 1) },
  { keys: "Space", does: "paint where the brush is" },
  { keys: "Ctrl-z", does: "take the last stroke back" },
  { keys: "t", does: "light or dark", act: switchTheme },
  { keys: "?", does: "this list" },
]);
void guard(start);
