/** What the page needs of a viewer; pictures and volumes each have one. */

export type Colour = readonly [red: number, green: number, blue: number];
export type Style = "fill" | "outline" | "probability";

/** Place on a canvas in CSS pixels, from its left upper corner. */
export interface Point {
  x: number;
  y: number;
}

/** The answer to one phrase, as it is drawn. */
export interface Layer {
  /** Number of the answer; the same number means the same mask. */
  number: number;
  colour: Colour;
  /** 0 to 1. */
  opacity: number;
  mask: Blob;
  /** There if the style is "probability". */
  probability: Blob | null;
}

/** Centre and width in the image's own values. */
export interface Window {
  centre: number;
  width: number;
}

export interface Brush {
  /** In pixels or voxels. */
  radius: number;
  erase: boolean;
}

export interface Viewer {
  readonly canvas: HTMLCanvasElement;
  /** Called after every change of slice, window or view. */
  onChange: () => void;

  sliceCount(): number;
  slice(): number;
  /** Show a slice, counted from 0. */
  showSlice(index: number): void;

  setLayers(layers: readonly Layer[], style: Style): Promise<void>;

  pan(from: Point, to: Point): void;
  zoom(factor: number, at: Point | null): void;
  reset(): void;
  window(): Window;
  setWindow(window: Window): void;
  /** As it was when opened. */
  openedWindow(): Window;

  /** Put the crosshair there, where there is one. */
  pointAt(at: Point): void;
  /** What lies there, in words. */
  describe(at: Point | null): string;
  /** Go one step by keyboard: pan, or move the crosshair or the brush. */
  step(right: number, down: number): void;

  /** Start to correct a mask, given as a layer. */
  startEditing(layer: Layer): Promise<void>;
  paint(from: Point, to: Point, brush: Brush): void;
  /** Paint where the keyboard's cursor is. */
  dab(brush: Brush): void;
  endStroke(): void;
  /** Show the brush's size under the pointer, where that helps; null hides it. */
  showBrush(at: Point | null, radius: number): void;
  /** Number of strokes that are kept to be taken back. */
  readonly stepsBack: number;
  undo(): boolean;
  edited(): Promise<{ content: Blob; name: string }>;
  stopEditing(): void;

  /** Show the same slice, part and window as another viewer of the same image. */
  follow(other: Viewer): void;
  close(): void;
}

/** "#ffb000" as red, green and blue, 0 to 255. */
export function toColour(text: string): Colour {
  const value = Number.parseInt(text.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

/** Two fingers: their distance zooms, their middle moves. */
export function pinch(viewer: Viewer, pointers: ReadonlyMap<number, Point>, moving: number, to: Point): void {
  const from = pointers.get(moving) as Point;
  const [, other] = [...pointers].find(([id]) => id !== moving) as [number, Point];
  const apart = (point: Point) => Math.hypot(point.x - other.x, point.y - other.y);
  viewer.zoom(apart(to) / Math.max(1, apart(from)), { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 });
  viewer.pan({ x: from.x / 2, y: from.y / 2 }, { x: to.x / 2, y: to.y / 2 });
}
