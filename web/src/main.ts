/** The page: an image goes up, phrases are asked, answers are drawn. */

import { offerSeries, showFacts } from "./about";
import { type Answer, type Sent, type Series, Service, ServiceError } from "./api";
import { BrushControls } from "./brush";
import { byId, make, plain, save } from "./dom";
import { onFiles } from "./files";
import { listenToKeys } from "./keys";
import { clearErrors, say, showError, showProgress } from "./messages";
import { markSlice, showNames } from "./naming";
import { caption, describe, type Phrase, Phrases, toLayers } from "./phrases";
import { Stage } from "./stage";
import { recall, remember } from "./storage";
import { setTargets } from "./suggestions";
import { switchTheme } from "./theme";

/** What a reload of the page finds again. */
const KEPT = "vesalius-page";

interface Kept {
  id: string | null;
  series: readonly Series[];
  phrases: readonly string[];
}

const before = JSON.parse(recall("sessionStorage", KEPT) ?? "null") as Kept | null;
const service = new Service();
let upload: Series | null = null;
/** All series that arrived with it. */
let series: readonly Series[] = [];
/** Parts of the page that ask about an image. */
const TASKS = ["naming", "tasks", "about"] as const;
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
  mayRemove: (phrase) => {
    const isGoing = mayLose([phrase]);
    if (isGoing && phrase === edited) endEditing();
    return isGoing;
  },
  list: () => {
    showTasks();
    keep();
  },
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
  clearErrors();
  say("");
  const model = await service.model();
  byId("sign-in", HTMLFormElement).hidden = true;
  setTargets(model.targets);
  byId("model", HTMLParagraphElement).textContent = plain(`${model.name}, ${model.targets.length} targets`);
  await restore();
}

/** Keep for this tab what is open and asked; the service has the rest. */
function keep(): void {
  const kept: Kept = { id: upload?.id ?? null, series, phrases: phrases.all.map((each) => each.text) };
  remember("sessionStorage", KEPT, JSON.stringify(kept));
}

/** Open what was open before the page was loaded anew, if the service still has it. */
async function restore(): Promise<void> {
  if (!before || upload || opened > 0) return;
  for (const each of before.phrases) phrases.add(each);
  if (!before.id) return;
  const found = await service.series(before.id).catch((error: unknown) => {
    if (error instanceof ServiceError && error.status === 404) return null;
    throw error;
  });
  if (!found || opened > 0) return;
  series = before.series;
  offerSeries(series, found.id);
  await show(found);
}

/** Whether corrections that are not downloaded may go, which the user is asked. */
function mayLose(some: readonly Phrase[]): boolean {
  const unsaved = some.filter((each) => each.isUnsaved).map((each) => plain(each.text));
  return unsaved.length === 0 || confirm(`The corrected mask of ${unsaved.join(", ")} is not downloaded, and will be lost.`);
}

async function open(files: readonly Sent[]): Promise<void> {
  clearErrors();
  const turn = ++opened;
  await stopEditing();
  const what = files.length === 1 ? (files[0] as Sent).file.name : `${files.length} files`;
  say(`Sending ${what} …`);
  showProgress(0);
  const sent = await service.upload(files, (share) => showProgress(share === 1 ? undefined : share));
  if (turn !== opened) return; // others were sent meanwhile
  series = sent.series;
  offerSeries(series, sent.id);
  await show(sent);
}

/** Delete what arrived, and begin anew. */
async function removeUpload(): Promise<void> {
  if (!upload || !mayLose(phrases.all)) return;
  showProgress(undefined);
  await Promise.all((series.length > 0 ? series : [upload]).map((each) => service.remove(each.id)));
  endEditing();
  upload = null;
  series = [];
  opened += 1;
  phrases.forget();
  for (const id of TASKS) byId(id, HTMLElement).hidden = true;
  await stage.leave();
  say("The image and its results are deleted.");
}

/** Open one of the series that arrived. */
async function show(chosen: Series): Promise<void> {
  endEditing();
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
  for (const id of TASKS) byId(id, HTMLElement).hidden = false; // also of what cannot be drawn
  await stage.open(chosen, content);
  say([`${chosen.name} is open.`, ...phrases.all.map(describe)].filter(Boolean).join(" "));
  await draw();
  await asked;
}

function chooseSeries(): void {
  const list = byId("series", HTMLSelectElement);
  const chosen = series.find((each) => each.id === list.value);
  if (chosen && mayLose(phrases.all)) void guard(() => show(chosen));
  else list.value = upload?.id ?? "";
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
    if (upload !== about) return;
    for (const each of waiting) phrases.set(each, { state: "failed" });
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

/** What can be compared and corrected: phrases with masks; one that is being corrected stays until that is over. */
function showTasks(): void {
  const masked = phrases.masked().map((each) => each.text);
  for (const [place, list] of [left, right, corrected].entries()) {
    const chosen = list === corrected && edited ? edited.text : (list.dataset["chosen"] ?? "");
    list.replaceChildren(...masked.map((each) => make("option", { value: each }, each)));
    list.value = masked.includes(chosen) ? chosen : (masked[place === 1 ? 1 : 0] ?? masked[0] ?? "");
  }
  if (left.value === right.value) right.value = masked.find((each) => each !== left.value) ?? right.value;
  compare.disabled = edited !== null || masked.length < 2;
  if (compare.disabled) compare.setAttribute("aria-pressed", "false");
  edit.disabled = masked.length === 0 && !edited;
  const isBegun = phrases.all.some((each) => each.text === corrected.value && each.corrected);
  edit.textContent = edited ? "Stop" : isBegun ? "Continue" : "Start";
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
  const about = upload;
  if (!phrase || !layer || !about) return;
  if (stage.shown !== about.id) throw new ServiceError("The image is not drawn, so masks cannot be corrected on it.", 0);
  compare.setAttribute("aria-pressed", "false");
  await draw();
  if (upload === about) await stage.edit({ ...layer, mask: phrase.corrected ?? layer.mask });
  if (upload !== about) return; // another was opened meanwhile
  edited = phrase;
  byId("corrected-phrase", HTMLInputElement).value = phrase.text;
  brush.setSize(Math.max(1, Math.round(Math.min(about.width, about.height) / (about.kind === "volume" ? 80 : 50))));
  showTasks();
  await draw();
  say(`Correcting ${phrase.text}. Drag to paint, or use the arrow keys and the space bar.`);
}

/** Leave the brush; what was painted is kept, so that it can be gone on with. */
async function stopEditing(): Promise<void> {
  if (!edited) return;
  const phrase = edited;
  if (phrase.isUnsaved) phrase.corrected = (await stage.edited()).content;
  if (edited !== phrase) return;
  endEditing();
  say(phrase.corrected ? `The corrected mask of ${phrase.text} is kept while this image is open.` : "");
}

function endEditing(): void {
  if (!edited) return;
  stage.stopEditing();
  edited = null;
  showTasks();
  void draw();
}

async function saveCorrection(): Promise<void> {
  if (!upload || !edited) return;
  const corrects = edited;
  const { content, name } = await stage.edited();
  Object.assign(corrects, { corrected: content, isUnsaved: false });
  const phrase = byId("corrected-phrase", HTMLInputElement).value.trim();
  showProgress(undefined);
  try {
    save(await service.correction(upload.id, content, name, phrase), "correction.zip");
  } catch (error) {
    corrects.isUnsaved = true;
    throw error;
  }
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

onFiles((files) => mayLose(phrases.all) && void guard(() => open(files)), showError);
service.onWait = (seconds) => say(`The service is busy; asking again in ${Math.ceil(seconds)} s.`);
stage.onStroke = () => edited && (edited.isUnsaved = true);
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
byId("remove", HTMLButtonElement).addEventListener("click", () => void guard(removeUpload));
byId("series", HTMLSelectElement).addEventListener("change", chooseSeries);
addEventListener("beforeunload", (event) => {
  if (phrases.all.some((each) => each.isUnsaved)) event.preventDefault();
});
compare.addEventListener("click", () => {
  compare.setAttribute("aria-pressed", String(!isComparing()));
  void draw();
  if (isComparing()) stage.reveal();
});
for (const list of [left, right, corrected]) {
  list.addEventListener("change", () => {
    list.dataset["chosen"] = list.value;
    showTasks();
    void draw();
  });
}
edit.addEventListener("click", () => void guard(edited ? stopEditing : startEditing));
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
