/** A mask that is corrected by hand: discs along a line, and the way back. */

interface Patch {
  left: number;
  top: number;
  width: number;
  values: Uint8Array;
}

export const STEPS_BACK = 50;

/** The part of a picture that changed. */
export interface Rectangle {
  left: number;
  top: number;
  width: number;
  height: number;
}

export class EditedMask {
  private past: Patch[] = [];
  private before: Uint8Array | null = null;
  private touched: Rectangle | null = null;

  /** `values` [height × width] are 255 inside and 0 outside, and change in place. */
  constructor(
    readonly values: Uint8Array,
    readonly width: number,
    readonly height: number,
  ) {}

  /** Draw a line of discs; what changed. */
  paint(from: readonly [number, number], to: readonly [number, number], radius: number, value: number): Rectangle {
    this.before ??= this.values.slice();
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(1, radius / 2)));
    for (let step = 0; step <= steps; step++) {
      const along = step / steps;
      this.disc(from[0] + (to[0] - from[0]) * along, from[1] + (to[1] - from[1]) * along, radius, value);
    }
    const changed = this.bounds(
      Math.min(from[0], to[0]) - radius,
      Math.min(from[1], to[1]) - radius,
      Math.max(from[0], to[0]) + radius,
      Math.max(from[1], to[1]) + radius,
    );
    this.touched = this.touched ? union(this.touched, changed) : changed;
    return changed;
  }

  /** What was painted since the last stroke becomes one step to undo. */
  endStroke(): void {
    const { before, touched } = this;
    if (before && touched) this.past.push(cut(before, this.width, touched));
    if (this.past.length > STEPS_BACK) this.past.shift();
    this.before = this.touched = null;
  }

  /** Take the last stroke back; what changed, or null if there is none. */
  undo(): Rectangle | null {
    const patch = this.past.pop();
    if (!patch) return null;
    const height = patch.values.length / patch.width;
    for (let row = 0; row < height; row++) {
      const part = patch.values.subarray(row * patch.width, (row + 1) * patch.width);
      this.values.set(part, (patch.top + row) * this.width + patch.left);
    }
    return { left: patch.left, top: patch.top, width: patch.width, height };
  }

  private disc(x: number, y: number, radius: number, value: number): void {
    const { left, top, width, height } = this.bounds(x - radius, y - radius, x + radius, y + radius);
    for (let row = top; row < top + height; row++) {
      for (let column = left; column < left + width; column++) {
        if ((column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2 <= radius ** 2) this.values[row * this.width + column] = value;
      }
    }
  }

  private bounds(left: number, top: number, right: number, bottom: number): Rectangle {
    const inside = (value: number, most: number) => Math.min(Math.max(0, value), most);
    const [x, y] = [inside(Math.floor(left), this.width), inside(Math.floor(top), this.height)];
    return { left: x, top: y, width: inside(Math.ceil(right), this.width) - x, height: inside(Math.ceil(bottom), this.height) - y };
  }
}

function union(one: Rectangle, other: Rectangle): Rectangle {
  const [left, top] = [Math.min(one.left, other.left), Math.min(one.top, other.top)];
  const right = Math.max(one.left + one.width, other.left + other.width);
  const bottom = Math.max(one.top + one.height, other.top + other.height);
  return { left, top, width: right - left, height: bottom - top };
}

function cut(values: Uint8Array, columns: number, part: Rectangle): Patch {
  const patch = new Uint8Array(part.width * part.height);
  for (let row = 0; row < part.height; row++) {
    const start = (part.top + row) * columns + part.left;
    patch.set(values.subarray(start, start + part.width), row * part.width);
  }
  return { left: part.left, top: part.top, width: part.width, values: patch };
}
