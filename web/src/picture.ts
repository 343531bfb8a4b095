/** Pictures, and single slices: a canvas with masks over it. */

import { EditedMask, type Rectangle, STEPS_BACK } from "./mask";
import type { Brush, Colour, Layer, Point, Style, Viewer, Window } from "./viewer";

const OPENED: Window = { centre: 127.5, width: 255 };
const STEP = 40;
const LARGEST = 64;
const SMOOTH_BELOW = 2;

interface Drawn {
  key: string;
  canvas: OffscreenCanvas;
}

export class PictureView implements Viewer {
  onChange: () => void = () => {};
  readonly stepsBack = STEPS_BACK;
  private readonly context: CanvasRenderingContext2D;
  private readonly shown: OffscreenCanvas;
  private range: Window = OPENED;
  private readonly drawn = new Map<number, Drawn>();
  private layers: readonly Layer[] = [];
  private editing: { mask: EditedMask; colour: Colour; canvas: OffscreenCanvas; number: number } | null = null;
  /** Scale, and place of the picture's corner, in CSS pixels; scale 0 before anything is drawn. */
  private view = { scale: 0, x: 0, y: 0 };
  private fitted = true;
  private cursor: Point;
  private brushShown: { at: Point; radius: number } | null = null;
  private waiting = 0;
  private readonly watch: ResizeObserver;

  private constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly pixels: ImageData,
    /** Height of a pixel in widths. */
    private readonly aspect: number,
  ) {
    this.context = canvas.getContext("2d", { alpha: false }) as CanvasRenderingContext2D;
    this.shown = new OffscreenCanvas(pixels.width, pixels.height);
    this.cursor = { x: pixels.width / 2, y: pixels.height / 2 };
    this.applyWindow();
    this.watch = new ResizeObserver(() => this.resize());
    this.watch.observe(canvas);
  }

  static async open(canvas: HTMLCanvasElement, content: Blob, spacing: readonly number[] | null): Promise<PictureView> {
    const [columns, rows] = spacing ?? [];
    return new PictureView(canvas, await decode(content), columns && rows ? rows / columns : 1);
  }

  sliceCount(): number {
    return 1;
  }

  slice(): number {
    return 0;
  }

  showSlice(): void {}

  async setLayers(layers: readonly Layer[], style: Style): Promise<void> {
    const kept = new Set<number>();
    for (const layer of layers) {
      kept.add(layer.number);
      const content = style === "probability" ? layer.probability : layer.mask;
      const key = [style, content === null, ...layer.colour, layer.opacity].join(" ");
      if (this.drawn.get(layer.number)?.key === key) continue;
      const canvas = content && draw(await decodeGrey(content), style, layer.colour, layer.opacity);
      if (canvas) this.drawn.set(layer.number, { key, canvas });
    }
    for (const number of this.drawn.keys()) if (!kept.has(number)) this.drawn.delete(number);
    this.layers = layers;
    this.redraw();
  }

  pan(from: Point, to: Point): void {
    this.move(this.view.scale, this.view.x + to.x - from.x, this.view.y + to.y - from.y);
  }

  zoom(factor: number, at: Point | null): void {
    const { scale, x, y } = this.view;
    const centre = at ?? { x: this.canvas.clientWidth / 2, y: this.canvas.clientHeight / 2 };
    const next = Math.min(Math.max(scale * factor, this.fit().scale / 4), LARGEST);
    this.move(next, centre.x - ((centre.x - x) * next) / scale, centre.y - ((centre.y - y) * next) / scale);
  }

  reset(): void {
    this.view = this.fit();
    this.fitted = true;
    this.setWindow(OPENED);
  }

  window(): Window {
    return this.range;
  }

  openedWindow(): Window {
    return OPENED;
  }

  setWindow(window: Window): void {
    this.range = window;
    this.applyWindow();
    this.redraw();
    this.onChange();
  }

  pointAt(at: Point): void {
    this.cursor = this.toPixel(at);
  }

  describe(at: Point | null): string {
    if (!at) return "";
    const { x, y } = this.toPixel(at);
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= this.pixels.width || row >= this.pixels.height) return "";
    const start = 4 * (row * this.pixels.width + column);
    const [red, green, blue] = this.pixels.data.slice(start, start + 3);
    return `Column ${column}, row ${row}: ${red === green && green === blue ? red : `${red}, ${green}, ${blue}`}`;
  }

  step(right: number, down: number): void {
    if (!this.editing) {
      this.move(this.view.scale, this.view.x - right * STEP, this.view.y - down * STEP);
      return;
    }
    const pace = Math.max(1, 4 / this.view.scale);
    this.cursor = {
      x: Math.min(Math.max(0, this.cursor.x + right * pace), this.pixels.width),
      y: Math.min(Math.max(0, this.cursor.y + down * pace), this.pixels.height),
    };
    this.brushShown = { at: this.cursor, radius: this.brushShown?.radius ?? 8 };
    this.redraw();
  }

  async startEditing(layer: Layer): Promise<void> {
    const { values: found, width, height } = await decodeGrey(layer.mask);
    const values = found.map((each) => (each > 127 ? 255 : 0));
    const canvas = new OffscreenCanvas(width, height);
    this.editing = { mask: new EditedMask(values, width, height), colour: layer.colour, canvas, number: layer.number };
    this.repaint({ left: 0, top: 0, width, height });
  }

  paint(from: Point, to: Point, brush: Brush): void {
    this.cursor = this.toPixel(to);
    this.stroke(this.toPixel(from), this.cursor, brush);
  }

  dab(brush: Brush): void {
    this.stroke(this.cursor, this.cursor, brush);
    this.endStroke();
  }

  showBrush(at: Point | null, radius: number): void {
    this.brushShown = at ? { at: this.toPixel(at), radius } : null;
    this.redraw();
  }

  endStroke(): void {
    this.editing?.mask.endStroke();
  }

  undo(): boolean {
    const changed = this.editing?.mask.undo();
    if (changed) this.repaint(changed);
    return Boolean(changed);
  }

  async edited(): Promise<{ content: Blob; name: string }> {
    if (!this.editing) throw new Error("No mask is being corrected");
    const { values, width, height } = this.editing.mask;
    const pixels = new ImageData(width, height);
    for (let place = 0; place < values.length; place++) pixels.data.fill(values[place] ?? 0, 4 * place, 4 * place + 3);
    for (let place = 3; place < pixels.data.length; place += 4) pixels.data[place] = 255;
    const canvas = new OffscreenCanvas(width, height);
    context(canvas).putImageData(pixels, 0, 0);
    return { content: await canvas.convertToBlob({ type: "image/png" }), name: "mask.png" };
  }

  stopEditing(): void {
    this.editing = this.brushShown = null;
    this.redraw();
  }

  follow(other: Viewer): void {
    if (!(other instanceof PictureView)) return;
    this.view = { ...other.view };
    this.fitted = other.fitted;
    if (this.range !== other.range) {
      this.range = other.range;
      this.applyWindow();
    }
    this.redraw();
  }

  close(): void {
    this.watch.disconnect();
    cancelAnimationFrame(this.waiting);
  }

  private stroke(from: Point, to: Point, brush: Brush): void {
    if (!this.editing) return;
    this.brushShown = { at: to, radius: brush.radius };
    this.repaint(this.editing.mask.paint([from.x, from.y], [to.x, to.y], brush.radius, brush.erase ? 0 : 255));
  }

  private repaint({ left, top, width, height }: Rectangle): void {
    if (!this.editing || width === 0 || height === 0) return;
    const { mask, colour, canvas } = this.editing;
    const pixels = new ImageData(width, height);
    const [words, painted] = [new Uint32Array(pixels.data.buffer), word(colour, 140)];
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        if (mask.values[(top + row) * mask.width + left + column]) words[row * width + column] = painted;
      }
    }
    context(canvas).putImageData(pixels, left, top);
    this.redraw();
  }

  private toPixel(at: Point): Point {
    return { x: (at.x - this.view.x) / this.view.scale, y: (at.y - this.view.y) / (this.view.scale * this.aspect) };
  }

  private move(scale: number, x: number, y: number): void {
    this.view = { scale, x, y };
    this.fitted = false;
    this.redraw();
    this.onChange();
  }

  private fit(): { scale: number; x: number; y: number } {
    const { clientWidth, clientHeight } = this.canvas;
    const [width, height] = [this.pixels.width, this.pixels.height * this.aspect];
    const scale = Math.min(clientWidth / width, clientHeight / height) || 1;
    return { scale, x: (clientWidth - width * scale) / 2, y: (clientHeight - height * scale) / 2 };
  }

  private resize(): void {
    const ratio = devicePixelRatio;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    if (this.fitted || this.view.scale === 0) this.view = this.fit();
    this.paintNow();
  }

  /** Values below the window are black, those above white. */
  private applyWindow(): void {
    const { centre, width } = this.range;
    const low = centre - width / 2;
    const table = Uint8ClampedArray.from({ length: 256 }, (_, value) => (255 * (value - low)) / Math.max(width, 1));
    const { data } = this.pixels;
    const windowed = new ImageData(this.pixels.width, this.pixels.height);
    for (let place = 0; place < data.length; place++) {
      windowed.data[place] = place % 4 === 3 ? 255 : (table[data[place] ?? 0] ?? 0);
    }
    context(this.shown).putImageData(windowed, 0, 0);
  }

  private redraw(): void {
    this.waiting ||= requestAnimationFrame(() => this.paintNow());
  }

  private paintNow(): void {
    this.waiting = 0;
    const { context: pen, canvas } = this;
    const { scale, x, y } = this.view;
    const ratio = devicePixelRatio;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.setTransform(scale * ratio, 0, 0, scale * this.aspect * ratio, x * ratio, y * ratio);
    pen.imageSmoothingEnabled = scale * ratio < SMOOTH_BELOW;
    pen.drawImage(this.shown, 0, 0);
    for (const { number } of this.layers) {
      const drawn = this.drawn.get(number);
      if (drawn && number !== this.editing?.number) pen.drawImage(drawn.canvas, 0, 0);
    }
    if (this.editing) pen.drawImage(this.editing.canvas, 0, 0);
    if (this.editing && this.brushShown) this.outlineBrush(this.brushShown.at, this.brushShown.radius);
  }

  private outlineBrush(at: Point, radius: number): void {
    for (const [colour, width] of [["#000", 3], ["#fff", 1]] as const) {
      this.context.strokeStyle = colour;
      this.context.lineWidth = width / this.view.scale;
      this.context.beginPath();
      this.context.arc(at.x, at.y, radius, 0, 2 * Math.PI);
      this.context.stroke();
    }
  }
}

function context(canvas: OffscreenCanvas): OffscreenCanvasRenderingContext2D {
  return canvas.getContext("2d", { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D;
}

/** Pixels of a file, as they are stored. */
async function decode(content: Blob): Promise<ImageData> {
  const bitmap = await createImageBitmap(content, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  const pen = context(new OffscreenCanvas(width, height));
  pen.fillRect(width - 1, height - 1, 1, 1);
  // Canvases that are too large stay empty, and nothing else tells.
  if (pen.getImageData(width - 1, height - 1, 1, 1).data[3] !== 255) {
    bitmap.close();
    throw new Error(
      `This picture of ${width} × ${height} pixels is too large for this browser to draw. ` +
        "Phrases can be asked all the same, and their masks downloaded.",
    );
  }
  pen.globalCompositeOperation = "copy";
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  return pen.getImageData(0, 0, width, height);
}

/** Values of masks and probabilities, which are drawn anew with every colour and opacity. */
const decoded = new WeakMap<Blob, GreyImage>();

interface GreyImage {
  values: Uint8Array;
  width: number;
  height: number;
}

async function decodeGrey(content: Blob): Promise<GreyImage> {
  const known = decoded.get(content);
  if (known) return known;
  const { data, width, height } = await decode(content);
  const values = new Uint8Array(width * height);
  for (let place = 0; place < values.length; place++) values[place] = data[4 * place] ?? 0;
  decoded.set(content, { values, width, height });
  return { values, width, height };
}

/** Colour and opacity, 0 to 255, of a pixel of an ImageData that is seen as 32-bit numbers. */
function word([red, green, blue]: Colour, alpha: number): number {
  return new Uint32Array(Uint8ClampedArray.of(red, green, blue, alpha).buffer)[0] ?? 0;
}

/** A mask or probabilities in one colour. */
function draw({ values, width, height }: GreyImage, style: Style, colour: Colour, opacity: number): OffscreenCanvas {
  const rim = Math.max(1, Math.round(Math.min(width, height) / 400));
  const pixels = new ImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer);
  const graded = Uint32Array.from({ length: 256 }, (_, value) => word(colour, value * opacity));
  const edge = word(colour, 255 * Math.max(opacity, Math.min(1, 2 * opacity)));
  const inside = style === "fill" ? word(colour, 255 * opacity) : 0;
  for (let row = 0, place = 0; row < height; row++) {
    for (let column = 0; column < width; column++, place++) {
      const value = values[place] ?? 0;
      if (style === "probability") words[place] = graded[value] ?? 0;
      if (style === "probability" || value < 128) continue;
      const isRim =
        column < rim || row < rim || column >= width - rim || row >= height - rim ||
        (values[place - rim] ?? 0) < 128 || (values[place + rim] ?? 0) < 128 ||
        (values[place - rim * width] ?? 0) < 128 || (values[place + rim * width] ?? 0) < 128;
      words[place] = isRim ? edge : inside;
    }
  }
  const canvas = new OffscreenCanvas(width, height);
  context(canvas).putImageData(pixels, 0, 0);
  return canvas;
}
