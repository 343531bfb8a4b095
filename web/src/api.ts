/** The service's interface, as docs/serve.md has it. */

import { recall, remember } from "./storage";

export interface Series {
  id: string;
  kind: "picture" | "volume";
  name: string;
  width: number;
  height: number;
  depth: number;
  /** Distance of columns, of rows and, in volumes, of slices. */
  spacing_mm: readonly number[] | null;
  modality: string | null;
  /** Whether results can be had as DICOM objects. */
  dicom: boolean;
  /** Axis of the volume's file along which slices lie. */
  slice_axis: number | null;
  /** Whether the file says where the image lies in the patient. */
  placed: boolean;
  expires_at: string;
  notices: readonly string[];
}

/** The largest series of an upload; `series` has all where there are several. */
export interface Upload extends Series {
  series: readonly Series[];
}

export interface Answer {
  number: number;
  phrase: string;
  target: string | null;
  existence: number | null;
  /** "not learnt", "not expected here" or "a denial"; null if the model was asked. */
  reason: string | null;
  remark: string | null;
  nearest: readonly string[];
  share: number | null;
  volume_ml: number | null;
  /** Slices with a mark, counted from 0; null for pictures. */
  slices_marked: readonly number[] | null;
  mask: string | null;
  probability: string | null;
}

export interface Target {
  target: string;
  /** Names to suggest, the plain one first. */
  names: readonly string[];
  /** Kinds of pictures, in words. */
  learnt_on: readonly string[];
}

export interface Model {
  name: string;
  targets: readonly Target[];
}

export interface Label {
  label: string | null;
  probability: number | null;
  source: string;
}

/** Neighbouring slices that show the same; counted from 0, of an axial series from the feet. */
export interface Range {
  label: string | null;
  first: number;
  last: number;
  probability: number | null;
}

export interface Names {
  modality: Label;
  protocol: Label;
  plane: Label;
  stations: readonly Range[];
  organs: readonly Range[];
  slices: readonly unknown[];
}

/** A file to send, with the path that tells it from others of its name. */
export interface Sent {
  file: File;
  path: string;
}

/** What went wrong, in the words of the service. */
export class ServiceError extends Error {
  constructor(
    readonly what: string,
    readonly status: number,
    readonly details: readonly (readonly [string, string])[] = [],
    readonly retryAfter: number | null = null,
  ) {
    super(what);
  }
}

const DETAILS = ["where", "expected", "got", "remedy"] as const;
const TRIES = 5;
const TOKEN = "vesalius-token";

/** Calls the service that this page came from. */
export class Service {
  /** Called when the service is busy and the question waits. */
  onWait: (seconds: number) => void = () => {};
  private token = recall("sessionStorage", TOKEN);

  get hasToken(): boolean {
    return this.token !== null;
  }

  setToken(token: string): void {
    this.token = token.replace(/[^\x20-\x7e]/g, "?"); // no header carries others, and no token has them
    remember("sessionStorage", TOKEN, this.token);
  }

  model(): Promise<Model> {
    return this.json("api/model");
  }

  /** What is known of an upload. */
  series(id: string): Promise<Series> {
    return this.json(`api/uploads/${id}`);
  }

  /** Delete an upload with all its results; one that has expired is gone already. */
  async remove(id: string): Promise<void> {
    await this.call(`api/uploads/${id}`, { method: "DELETE" }).catch((error: unknown) => {
      if (!(error instanceof ServiceError && error.status === 404)) throw error;
    });
  }

  segment(upload: string, phrases: readonly string[]): Promise<{ results: readonly Answer[] }> {
    return this.json(`api/uploads/${upload}/segment`, { phrases });
  }

  async name(upload: string): Promise<Names> {
    const { series } = await this.json<{ series: readonly [Names] }>(`api/uploads/${upload}/name`, {});
    return series[0];
  }

  /** A file of the service: a path that it gave, or one below an upload. */
  async file(path: string): Promise<Blob> {
    return (await this.call(path)).blob();
  }

  /** Image, mask and phrase in the layout for training, as a zip. */
  async correction(upload: string, mask: Blob, name: string, phrase: string): Promise<Blob> {
    const body = new FormData();
    body.append("mask", mask, name);
    body.append("phrase", phrase);
    return (await this.call(`api/uploads/${upload}/corrections`, { method: "POST", body })).blob();
  }

  /** Send files; `onProgress` hears the share that is sent. `fetch` does not tell it, so this is an XMLHttpRequest. */
  upload(files: readonly Sent[], onProgress: (share: number) => void): Promise<Upload> {
    const body = new FormData();
    for (const { file, path } of files) body.append("files", file, path);
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", this.url("api/uploads"));
      if (this.token) request.setRequestHeader("Authorization", `Bearer ${this.token}`);
      request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
      request.addEventListener("load", () => {
        if (request.status === 201) resolve(JSON.parse(request.responseText) as Upload);
        else reject(toError(request.status, request.responseText, request.getResponseHeader("Retry-After")));
      });
      request.addEventListener("error", () => reject(unreachable()));
      request.send(body);
    });
  }

  private async json<T>(path: string, content?: unknown): Promise<T> {
    const asked: RequestInit =
      content === undefined
        ? {}
        : { method: "POST", body: JSON.stringify(content), headers: { "Content-Type": "application/json" } };
    return (await (await this.call(path, asked)).json()) as T;
  }

  /** Ask; a service that is busy is asked again when it says so. */
  private async call(path: string, options: RequestInit = {}): Promise<Response> {
    const headers = new Headers(options.headers);
    if (this.token) headers.set("Authorization", `Bearer ${this.token}`);
    for (let tried = 1; ; tried++) {
      const response = await fetch(this.url(path), { ...options, headers }).catch(() => Promise.reject(unreachable()));
      if (response.ok) return response;
      const error = toError(response.status, await response.text(), response.headers.get("Retry-After"));
      if (error.status !== 429 || tried === TRIES) throw error;
      const seconds = error.retryAfter ?? 2 ** tried;
      this.onWait(seconds);
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    }
  }

  /** Relative to this page, so that a proxy may serve it under any path. */
  private url(path: string): string {
    const url = new URL(path.replace(/^\/+/, ""), document.baseURI);
    if (url.origin !== location.origin) throw new ServiceError("The service named a file on another host.", 0, [["where", path]]);
    return url.href;
  }
}

function toError(status: number, text: string, retryAfter: string | null): ServiceError {
  const seconds = retryAfter && Number.isFinite(Number(retryAfter)) ? Number(retryAfter) : null;
  try {
    const { error } = JSON.parse(text) as { error: Record<string, unknown> };
    const details = DETAILS.flatMap((key) => (error[key] ? [[key, String(error[key])] as const] : []));
    return new ServiceError(String(error["what"]), status, details, seconds);
  } catch {
    return new ServiceError(`The service answered with status ${status}.`, status, [], seconds);
  }
}

function unreachable(): ServiceError {
  return new ServiceError("The service cannot be reached.", 0, [
    ["remedy", "Check that vesalius serve still runs, and try again."],
  ]);
}
